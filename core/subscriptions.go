package core

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// subscriptionGroup is one subscription on a backend and everybody behind it.
type subscriptionGroup struct {
	pattern Pattern
	stream  Stream[*Event]
	members atomic.Pointer[[]*Subscription] // an immutable list, replaced whole
}

// Subscribe adds the subscriptions, all or none. One of the same owner and pattern
// is replaced. It returns when the backends have accepted them and the Registry
// keeps them.
func (b *Bridge) Subscribe(ctx context.Context, subs []*Subscription) error {
	patterns := make([]Pattern, len(subs))
	for i, s := range subs {
		patterns[i] = s.Pattern
	}
	entries, unlock, err := b.lock(ctx, patterns)
	if err != nil {
		return err
	}
	defer unlock()
	return b.subscribe(ctx, entries, subs, b.registry != nil && !allVolatile(subs))
}

// SyncSubscription makes the tables follow the Registry for the subscription with
// the owner and pattern of s: it is subscribed as it is kept there, or removed.
func (b *Bridge) SyncSubscription(ctx context.Context, s *Subscription) error {
	entries, unlock, err := b.lock(ctx, []Pattern{s.Pattern})
	if err != nil {
		return err
	}
	defer unlock()
	kept := b.registry.Subscription(s.ID())
	if kept == nil {
		b.unsubscribe([]*Subscription{s})
		return nil
	}
	return b.subscribe(ctx, entries, []*Subscription{kept}, false)
}

// subscribe does the work of Subscribe. The change semaphores are held.
func (b *Bridge) subscribe(ctx context.Context, entries map[string]*backendEntry, subs []*Subscription, save bool) error {
	for _, s := range subs {
		if err := s.Pattern.Valid(); err != nil {
			return err
		}
		can := entries[s.Pattern.Backend].open.Load().info.Can
		switch {
		case len(can.Subscribe) == 0:
			return Errorf(Unimplemented, "backend %q cannot subscribe", s.Pattern.Backend)
		case !can.CanSubscribe(s.Pattern.Match):
			return Errorf(Unimplemented, "backend %q cannot subscribe with match policy %q", s.Pattern.Backend, s.Pattern.Match)
		}
	}
	var fresh []*subscriptionGroup
	undo := func() {
		for _, g := range fresh {
			_ = g.stream.Close()
		}
	}
	for _, s := range subs {
		p := s.Pattern
		if b.subscriptionGroup(p) != nil || slices.ContainsFunc(fresh, func(g *subscriptionGroup) bool { return g.pattern == p }) {
			continue
		}
		stream, err := entries[p.Backend].open.Load().Subscribe(ctx, p)
		if err != nil {
			undo()
			return wrap(err, "subscribe to %s", p.Text(b.defaultBackend))
		}
		g := &subscriptionGroup{pattern: p, stream: stream}
		g.members.Store(&[]*Subscription{})
		fresh = append(fresh, g)
	}
	if save {
		if err := b.registry.Save(ctx, lasting(subs), nil); err != nil {
			undo()
			return err
		}
	}
	b.mu.Lock()
	for _, g := range fresh {
		b.subscriptions[g.pattern] = g
		b.topics.Set(g.pattern, g)
	}
	for _, s := range subs {
		b.subscriptions[s.Pattern].setMember(s.Owner, s)
	}
	b.mu.Unlock()
	for _, g := range fresh {
		b.wg.Go(func() { b.pumpEvents(g) })
	}
	return nil
}

// Unsubscribe removes the owner's subscriptions to these patterns and returns the
// ones it did not have. The last one of a pattern is removed from the backend.
func (b *Bridge) Unsubscribe(ctx context.Context, owner string, patterns []Pattern) (unknown []Pattern, err error) {
	_, unlock, err := b.lock(ctx, patterns)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var held []*Subscription
	for _, p := range patterns {
		if s := b.subscription(owner, p); s != nil {
			held = append(held, s)
		} else {
			unknown = append(unknown, p)
		}
	}
	if b.registry != nil && !allVolatile(held) {
		if err := b.registry.Delete(ctx, lasting(held), nil); err != nil {
			return nil, err
		}
	}
	b.unsubscribe(held)
	return unknown, nil
}

// unsubscribe takes subscriptions out of the tables. The change semaphores are
// held.
func (b *Bridge) unsubscribe(subs []*Subscription) {
	var empty []*subscriptionGroup
	b.mu.Lock()
	for _, s := range subs {
		g := b.subscriptions[s.Pattern]
		if g == nil || !g.setMember(s.Owner, nil) || len(*g.members.Load()) > 0 {
			continue
		}
		b.removeGroup(g)
		empty = append(empty, g)
	}
	b.mu.Unlock()
	for _, g := range empty {
		if err := g.stream.Close(); err != nil {
			b.log.Warn("unsubscribe", slog.String("pattern", g.pattern.String()), slog.Any("error", err))
		}
	}
}

// removeGroup takes a group out of the tables. b.mu is held.
func (b *Bridge) removeGroup(g *subscriptionGroup) {
	delete(b.subscriptions, g.pattern)
	b.topics.Delete(g.pattern)
}

// subscription is what the owner holds for the pattern, or nil. It may be kept but
// not be in the tables yet, when its backend was away.
func (b *Bridge) subscription(owner string, p Pattern) *Subscription {
	if g := b.subscriptionGroup(p); g != nil {
		for _, s := range *g.members.Load() {
			if s.Owner == owner {
				return s
			}
		}
	}
	if b.registry == nil {
		return nil
	}
	return b.registry.Subscription((&Subscription{Owner: owner, Pattern: p}).ID())
}

// Subscriptions lists what the owner holds, or what everybody holds when owner is
// empty, by pattern and owner.
func (b *Bridge) Subscriptions(owner string) []*Subscription {
	b.mu.RLock()
	var out []*Subscription
	for _, g := range b.subscriptions {
		for _, s := range *g.members.Load() {
			if owner == "" || s.Owner == owner {
				out = append(out, s)
			}
		}
	}
	b.mu.RUnlock()
	slices.SortFunc(out, func(x, y *Subscription) int {
		return strings.Compare(x.Pattern.String()+" "+x.Owner, y.Pattern.String()+" "+y.Owner)
	})
	return out
}

func (b *Bridge) subscriptionGroup(p Pattern) *subscriptionGroup {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.subscriptions[p]
}

// setMember replaces the owner's subscription in the group, or removes it when s
// is nil, and reports whether there was one. The bridge's mu is held.
func (g *subscriptionGroup) setMember(owner string, s *Subscription) bool {
	members := slices.Clone(*g.members.Load())
	i := slices.IndexFunc(members, func(m *Subscription) bool { return m.Owner == owner })
	switch {
	case i < 0 && s != nil:
		members = append(members, s)
	case i >= 0 && s != nil:
		members[i] = s
	case i >= 0:
		members = slices.Delete(members, i, i+1)
	}
	g.members.Store(&members)
	return i >= 0
}

// pumpEvents carries events from one backend subscription to the Deliverer until
// the stream ends.
func (b *Bridge) pumpEvents(g *subscriptionGroup) {
	var owed []Owed
	for {
		events, err := g.stream.Next(b.ctx)
		if err != nil {
			b.streamEnded("subscription", g.pattern, err)
			return
		}
		b.stats.EventsIn.Add(int64(len(events)))
		count := len(events)
		members := *g.members.Load()
		owed = owed[:0]
		total := 0
		for _, e := range events {
			if e.Gap != nil {
				b.gap(g.pattern, e.Gap)
				continue
			}
			e = withoutForgery(e)
			if to := recipients(e, members); len(to) > 0 {
				owed = append(owed, Owed{Event: e, ID: e.ID, To: to})
				total += len(to)
			}
		}
		if total > 0 {
			if err := b.deliver(g.pattern, owed); err != nil {
				return // the bridge is closing
			}
			b.stats.Deliveries.Add(int64(total))
		}
		if c, ok := g.stream.(Confirmer); ok {
			c.Confirm(count)
		}
	}
}

// gap tells that events may be missing.
func (b *Bridge) gap(p Pattern, g *Gap) {
	b.stats.Gaps.Add(1)
	b.log.Warn("events may be missing", slog.String("pattern", p.String()), slog.Time("since", g.Since),
		slog.Time("until", g.Until), slog.Int64("lost", g.Lost), slog.String("reason", g.Reason))
	if b.onGap != nil {
		b.onGap(p, g)
	}
}

// deliver waits until the Deliverer has taken charge: an event that came in is not
// given up while the bridge runs, unless it is one that can never be stored.
func (b *Bridge) deliver(p Pattern, owed []Owed) error {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := b.deliverer.Deliver(b.ctx, owed)
		if err == nil || b.ctx.Err() != nil {
			return b.ctx.Err()
		}
		if CodeOf(err) == TooLarge {
			return b.deliverEach(p, owed, err)
		}
		b.log.Error("deliver events: trying again", slog.String("pattern", p.String()), slog.Int("events", len(owed)), slog.Any("error", err))
		select {
		case <-time.After(pause):
		case <-b.ctx.Done():
		}
	}
}

// deliverEach finds the event that is too large among several, and drops it.
func (b *Bridge) deliverEach(p Pattern, owed []Owed, err error) error {
	if len(owed) == 1 {
		b.log.Error("event dropped", slog.String("pattern", p.String()), slog.String("event", owed[0].ID), slog.Any("error", err))
		return nil
	}
	for i := range owed {
		if err := b.deliver(p, owed[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// recipients are the members that are owed the event: routes are not, if a route has
// carried it already, so that nothing goes round. It returns members itself
// when nobody is left out.
func recipients(e *Event, members []*Subscription) []*Subscription {
	if e.Origin == "" && e.Via == "" {
		return members
	}
	excluded := func(s *Subscription) bool {
		return s.Owner == e.Origin && (e.ExcludeMe || s.ExcludeMe) || e.Via != "" && IsRoute(s.Owner)
	}
	if !slices.ContainsFunc(members, excluded) {
		return members
	}
	return slices.DeleteFunc(slices.Clone(members), excluded)
}

func (b *Bridge) streamEnded(what string, p Pattern, err error) {
	if errors.Is(err, io.EOF) || b.ctx.Err() != nil {
		return
	}
	b.log.Error(what+" ended", slog.String("pattern", p.String()), slog.Any("error", err))
}

// wrap puts what was tried in front of an error's message and keeps its code.
func wrap(err error, format string, args ...any) error {
	e := *AsError(err)
	e.Message = Errorf(e.Code, format, args...).Message + ": " + e.Message
	e.cause = err
	return &e
}
