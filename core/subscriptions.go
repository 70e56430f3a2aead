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
// is replaced. It returns when the backends have accepted them.
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
		case s.ExcludeMe && !can.Origin:
			return Errorf(Unimplemented, "backend %q cannot tell its own events from others, so exclude_me is not possible", s.Pattern.Backend)
		}
	}
	var fresh []*subscriptionGroup
	for _, p := range patterns {
		if b.subscriptionGroup(p) != nil || slices.ContainsFunc(fresh, func(g *subscriptionGroup) bool { return g.pattern == p }) {
			continue
		}
		stream, err := entries[p.Backend].open.Load().Subscribe(ctx, p)
		if err != nil {
			for _, g := range fresh {
				_ = g.stream.Close()
			}
			return wrap(err, "subscribe to %s", p.Text(b.defaultBackend))
		}
		g := &subscriptionGroup{pattern: p, stream: stream}
		g.members.Store(&[]*Subscription{})
		fresh = append(fresh, g)
	}
	b.mu.Lock()
	for _, g := range fresh {
		b.subscriptions[g.pattern] = g
	}
	for _, s := range subs {
		b.setMember(b.subscriptions[s.Pattern], s.Owner, s)
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
	var empty []*subscriptionGroup
	b.mu.Lock()
	for _, p := range patterns {
		g := b.subscriptions[p]
		if g == nil || !b.setMember(g, owner, nil) {
			unknown = append(unknown, p)
			continue
		}
		if len(*g.members.Load()) == 0 {
			delete(b.subscriptions, p)
			empty = append(empty, g)
		}
	}
	b.mu.Unlock()
	for _, g := range empty {
		if err := g.stream.Close(); err != nil {
			b.log.Warn("unsubscribe", slog.String("pattern", g.pattern.String()), slog.Any("error", err))
		}
	}
	return unknown, nil
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
// is nil, and reports whether there was one. b.mu is held.
func (b *Bridge) setMember(g *subscriptionGroup, owner string, s *Subscription) bool {
	members := slices.Clone(*g.members.Load())
	i := slices.IndexFunc(members, func(m *Subscription) bool { return m.Owner == owner })
	if i >= 0 && members[i].ExcludeMe {
		if b.excluders[owner]--; b.excluders[owner] == 0 {
			delete(b.excluders, owner)
		}
	}
	if s != nil && s.ExcludeMe {
		b.excluders[owner]++
	}
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
	for {
		events, err := g.stream.Next(b.ctx)
		if err != nil {
			b.streamEnded("subscription", g.pattern, err)
			return
		}
		b.stats.EventsIn.Add(int64(len(events)))
		members := *g.members.Load()
		for _, e := range events {
			to := recipients(e, members)
			if len(to) == 0 {
				continue
			}
			if err := b.deliver(e, to); err != nil {
				return // the bridge is closing
			}
			b.stats.Deliveries.Add(int64(len(to)))
		}
	}
}

// deliver waits until the Deliverer has taken charge: an event that came in is not
// given up while the bridge runs.
func (b *Bridge) deliver(e *Event, to []*Subscription) error {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := b.deliverer.Deliver(b.ctx, e, to)
		if err == nil || b.ctx.Err() != nil {
			return b.ctx.Err()
		}
		b.log.Error("deliver event: trying again", slog.String("topic", e.Topic.String()), slog.String("event", e.ID), slog.Any("error", err))
		select {
		case <-time.After(pause):
		case <-b.ctx.Done():
		}
	}
}

// recipients are the members that are owed the event. It returns members itself
// when nobody is left out.
func recipients(e *Event, members []*Subscription) []*Subscription {
	excluded := func(s *Subscription) bool { return s.Owner == e.Origin && (e.ExcludeMe || s.ExcludeMe) }
	if e.Origin == "" || !slices.ContainsFunc(members, excluded) {
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
