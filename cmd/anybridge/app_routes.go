package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	rest "github.com/anybridge/anybridge/adapters/http"
	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
	"github.com/anybridge/anybridge/routes"
)

// kindOf tells the kind of a backend, "" for one that is not there.
func (a *app) kindOf(backend string) string {
	for _, v := range a.bridge.Backends() {
		if v.Name == backend {
			return v.Info.Kind
		}
	}
	return ""
}

// checkRoutes says what routes ask of backends that these cannot do. can tells what a
// backend can; the configuration has made sure that it is there.
func checkRoutes(all []*routes.Route, can func(backend string) core.Capabilities) error {
	var errs []error
	wrong := func(r *routes.Route, format string, args ...any) {
		errs = append(errs, fmt.Errorf("route %q: "+format, append([]any{r.Name}, args...)...))
	}
	for _, r := range all {
		if r.Procedure.Name != "" {
			if from := r.Procedure; !can(from.Backend).CanRegister(from.Match) {
				wrong(r, "backend %s cannot register procedures with match policy %s", from.Backend, from.Match)
			}
			if !can(r.Call.Backend).Call {
				wrong(r, "backend %s cannot call procedures", r.Call.Backend)
			}
			continue
		}
		if !can(r.From.Backend).CanSubscribe(r.From.Match) {
			wrong(r, "backend %s cannot subscribe with match policy %s", r.From.Backend, r.From.Match)
		}
		for _, to := range r.Backends() {
			if !can(to).Publish {
				wrong(r, "backend %s cannot publish", to)
			}
		}
	}
	return errors.Join(errs...)
}

// forgetRoutes takes out of the registry what no route holds any more: the configuration
// may have changed while the bridge was down.
func (a *app) forgetRoutes(ctx context.Context) error {
	subs, _, _ := a.engine.Bindings()
	var stale []*core.Subscription
	for _, s := range subs {
		if core.IsRoute(s.Owner) && !a.routes.Wants(s) {
			stale = append(stale, s)
		}
	}
	if len(stale) == 0 {
		return nil
	}
	a.log.Info("durable routes removed since the last start", slog.Int("routes", len(stale)))
	return a.engine.Registry().Delete(ctx, stale, nil)
}

// sender makes attempts: at callbacks, and at durable routes.
type sender struct{ a *app }

// Send implements engine.Sender.
func (s sender) Send(ctx context.Context, at *engine.Attempt) engine.Outcome {
	if at.Subscription == nil || !core.IsRoute(at.Subscription.Owner) {
		return s.a.sender.Send(ctx, at)
	}
	started := time.Now()
	err := s.a.routes.Carry(ctx, at.Subscription.Owner, at.Event, at.ID)
	out := engine.Outcome{Done: err == nil, Err: err, Latency: time.Since(started)}
	switch core.CodeOf(err) {
	case core.Unavailable, core.Timeout, core.TooMany, core.Canceled:
		// The target is away: that is nothing that the event could help. It waits.
		out.Ours = true
	}
	if errors.Is(err, routes.ErrNoRoute) {
		out.Ours = true
	}
	return out
}

// gapTopic is the topic that tells of a time in which a subscription could not hear.
const gapTopic = "anybridge.backend.gap"

// tellGap publishes on the default backend that events may be missing.
func (a *app) tellGap(p core.Pattern, g *core.Gap) {
	kwargs, err := json.Marshal(map[string]any{
		"backend": p.Backend, "topic": p.Text(a.bridge.DefaultBackend()), "match": p.Match,
		"since": g.Since.UTC(), "until": g.Until.UTC(), "lost": g.Lost, "reason": g.Reason,
	})
	if err != nil {
		return
	}
	e := &core.Event{
		Topic:   core.Address{Backend: a.bridge.DefaultBackend(), Name: gapTopic},
		Payload: core.Payload{Args: json.RawMessage("[]"), Kwargs: kwargs},
	}
	a.telling.Go(func() {
		ctx, cancel := context.WithTimeout(a.life, syncTime)
		defer cancel()
		if err := a.bridge.Publish(ctx, e); err != nil {
			a.log.Warn("tell of a gap", slog.String("pattern", p.String()), slog.Any("error", err))
		}
	})
}

// routeViews tells how the routes are doing.
func (a *app) routeViews() []rest.Route {
	views := a.routes.Views()
	out := make([]rest.Route, len(views))
	for i, v := range views {
		out[i] = rest.Route{
			Name: v.Route, Kind: v.Kind, From: v.From.String(), To: v.To,
			Carried: v.Carried, Filtered: v.Filtered, Dropped: v.Dropped, Refused: v.Refused, Failed: v.Failed, Braked: v.Braked,
			Waiting: v.Waiting, LastError: v.LastError,
		}
		if !v.LastAt.IsZero() {
			out[i].LastAt = &v.LastAt
		}
	}
	return out
}
