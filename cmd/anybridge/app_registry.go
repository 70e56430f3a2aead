package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/anybridge/anybridge/cmd/anybridge/internal/config"
	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// engineDir is where the embedded store keeps its files, in the data folder.
const engineDir = "engine"

// engineOptions are the engine's, as the configuration has them.
func (a *app) engineOptions(conf *config.Config) engine.Options {
	c := conf.Engine
	return engine.Options{
		Sender: sender{a},
		Call:   func(ctx context.Context, c *core.Call) (*core.Result, error) { return a.bridge.Call(ctx, c) },
		Gone:   a.gone,
		Notify: a.tellTrouble,
		Log:    a.log,
		Dir:    filepath.Join(conf.DataDir, engineDir),
		URL:    c.URL, Creds: c.Creds, CA: c.CA, Name: c.Name, Replicas: c.Replicas,
		Durability: engine.Durability(c.Durability), MaxBytes: c.MaxBytes, MaxWaiting: c.MaxWaiting, KeepDead: c.KeepDead, MaxCalls: c.MaxCalls,
	}
}

// syncTime bounds the work on one subscription or registration.
const syncTime = 10 * time.Second

// sync makes the bridge's tables follow the registry: after a start, a reload, or a
// change by another bridge. It returns how many bindings could not be established,
// because their backend is away or somebody else has the procedure.
func (a *app) sync(ctx context.Context) (left int) {
	subs, regs, _ := a.engine.Bindings()
	there := map[string]bool{}
	for _, s := range subs {
		there[s.ID()] = true
	}
	for _, r := range regs {
		there[r.ID()] = true
	}
	held := map[string]any{}
	for _, s := range a.bridge.Subscriptions("") {
		held[s.ID()] = s
		if !there[s.ID()] && !s.Volatile {
			subs = append(subs, s)
		}
	}
	for _, r := range a.bridge.Registrations("") {
		held[r.ID()] = r
		if !there[r.ID()] && !r.Volatile {
			regs = append(regs, r)
		}
	}
	failed := func(kind string, p core.Pattern, owner string, err error) {
		left++
		a.log.Warn("not established yet", slog.String("kind", kind), slog.String("pattern", p.String()), slog.String("token", owner), slog.Any("error", err))
	}
	for _, s := range subs {
		if there[s.ID()] && held[s.ID()] == any(s) || core.IsRoute(s.Owner) && !a.routes.Wants(s) || ctx.Err() != nil {
			continue
		}
		each, cancel := context.WithTimeout(ctx, syncTime)
		if err := a.bridge.SyncSubscription(each, s); err != nil {
			failed("subscription", s.Pattern, s.Owner, err)
		}
		cancel()
	}
	for _, r := range regs {
		if there[r.ID()] && held[r.ID()] == any(r) || ctx.Err() != nil {
			continue
		}
		each, cancel := context.WithTimeout(ctx, syncTime)
		if err := a.bridge.SyncRegistration(each, r); err != nil {
			failed("registration", r.Pattern, r.Owner, err)
		}
		cancel()
	}
	return left + a.routes.Sync(ctx)
}

// follow syncs whenever the registry changes, and again, later and later, while
// something is left.
func (a *app) follow() {
	const first, last = time.Second, 30 * time.Second
	pause := first
	for {
		_, _, changed := a.engine.Bindings()
		left := a.syncAlone()
		wait := time.Hour
		if left > 0 {
			wait, pause = pause, min(2*pause, last)
		} else {
			pause = first
		}
		select {
		case <-changed:
			// Several changes often come together; our own are in the tables already.
			select {
			case <-time.After(100 * time.Millisecond):
			case <-a.life.Done():
			}
		case <-time.After(wait):
		case <-a.life.Done():
			return
		}
	}
}

// syncAlone syncs while no reload is under way.
func (a *app) syncAlone() int {
	select {
	case a.changing <- struct{}{}:
		defer func() { <-a.changing }()
		return a.sync(a.life)
	case <-a.life.Done():
		return 0
	}
}

// tellTrouble publishes trouble with an endpoint on the default backend.
func (a *app) tellTrouble(t engine.Trouble) {
	kwargs, err := json.Marshal(map[string]any{
		"token": t.Owner, "subscription": t.Subscription, "topic": t.Pattern.Text(a.bridge.DefaultBackend()), "url": t.URL,
		"reason": t.Reason, "delivery": t.Delivery, "time": t.At.UTC(),
	})
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(a.life, syncTime)
	defer cancel()
	e := &core.Event{
		Topic:   core.Address{Backend: a.bridge.DefaultBackend(), Name: engine.TroubleTopic + string(t.Kind)},
		Payload: core.Payload{Args: json.RawMessage("[]"), Kwargs: kwargs},
	}
	if err := a.bridge.Publish(ctx, e); err != nil {
		a.log.Warn("tell of trouble with an endpoint", slog.String("kind", string(t.Kind)), slog.Any("error", err))
	}
}
