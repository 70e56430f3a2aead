package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine/internal/record"
	"github.com/anybridge/anybridge/engine/internal/store"
)

// registry is a mirror of the subscriptions and registrations in the store, which
// it follows: another bridge may change them.
type registry struct {
	store *store.Store // set by Open
	log   *slog.Logger
	// changed is told of every subscription that is new, replaced or gone. It must
	// not block.
	changed func(old, now *core.Subscription)
	// others is given what is not about bindings: the leases. Set by Open.
	others func(tokens []string, m *store.Msg)
	loaded chan struct{} // closed when everything has been read once

	mu      sync.RWMutex
	subs    map[string]*core.Subscription
	regs    map[string]*core.Registration
	seqs    map[string]uint64 // of what is known of each ID
	waiting chan struct{}     // closed and replaced at every change
}

func newRegistry(log *slog.Logger, changed func(old, now *core.Subscription)) *registry {
	return &registry{
		log: log, changed: changed, loaded: make(chan struct{}), waiting: make(chan struct{}),
		subs: map[string]*core.Subscription{}, regs: map[string]*core.Registration{}, seqs: map[string]uint64{},
	}
}

// follow reads the store until ctx ends.
func (r *registry) follow(ctx context.Context) {
	_ = r.store.Read(ctx, store.Reading{
		Stream: store.Registry, Subject: r.store.Subject(store.Registry, ">"),
		Each:     r.read,
		CaughtUp: func() { close(r.loaded) },
	})
}

func (r *registry) read(m *store.Msg) {
	tokens := r.store.Tokens(store.Registry, m.Subject)
	if len(tokens) != 2 || tokens[0] != "bound" {
		r.others(tokens, m)
		return
	}
	id := tokens[1]
	if len(m.Data) == 0 {
		r.set(id, m.Seq, nil, nil)
		return
	}
	s, g, err := record.Binding(m.Data)
	if err != nil {
		r.log.Error("registry", slog.String("id", id), slog.Any("error", err))
		return
	}
	r.set(id, m.Seq, s, g)
}

// look reads a binding from the store itself: the mirror of a store that other
// bridges use may be behind.
func (r *registry) look(ctx context.Context, id string) error {
	m, err := r.store.Last(ctx, store.Registry, r.store.Subject(store.Registry, "bound", id))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	r.read(m)
	return nil
}

// set takes in a change, unless a later one is known already.
func (r *registry) set(id string, seq uint64, s *core.Subscription, g *core.Registration) {
	r.mu.Lock()
	if r.seqs[id] >= seq {
		r.mu.Unlock()
		return
	}
	r.seqs[id] = seq
	old := r.subs[id]
	delete(r.subs, id)
	delete(r.regs, id)
	if s != nil {
		r.subs[id] = s
	}
	if g != nil {
		r.regs[id] = g
	}
	close(r.waiting)
	r.waiting = make(chan struct{})
	r.mu.Unlock()
	if old != nil || s != nil {
		r.changed(old, s)
	}
}

// saveTime bounds one change of the registry.
const saveTime = 10 * time.Second

// Save implements core.Registry. Several bindings are written one after the other;
// when one fails, those before it are put back.
func (r *registry) Save(ctx context.Context, subs []*core.Subscription, regs []*core.Registration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	var undo []func()
	write := func(id string, data []byte, s *core.Subscription, g *core.Registration) error {
		r.mu.RLock()
		oldSub, oldReg := r.subs[id], r.regs[id]
		r.mu.RUnlock()
		seq, err := r.put(ctx, id, data)
		if err != nil {
			for _, f := range undo {
				f()
			}
			return err
		}
		r.set(id, seq, s, g)
		undo = append(undo, func() {
			if seq, err := r.put(ctx, id, binding(oldSub, oldReg)); err == nil {
				r.set(id, seq, oldSub, oldReg)
			}
		})
		return nil
	}
	for _, s := range subs {
		if err := write(s.ID(), binding(s, nil), s, nil); err != nil {
			return err
		}
	}
	for _, g := range regs {
		if err := write(g.ID(), binding(nil, g), nil, g); err != nil {
			return err
		}
	}
	return nil
}

// Delete implements core.Registry.
func (r *registry) Delete(ctx context.Context, subs []*core.Subscription, regs []*core.Registration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	ids := make([]string, 0, len(subs)+len(regs))
	for _, s := range subs {
		ids = append(ids, s.ID())
	}
	for _, g := range regs {
		ids = append(ids, g.ID())
	}
	for _, id := range ids {
		seq, err := r.put(ctx, id, nil)
		if err != nil {
			return err
		}
		r.set(id, seq, nil, nil)
		if !r.store.Shared() { // nobody else has to hear of it: leave nothing behind
			r.store.Purge(store.Registry, r.store.Subject(store.Registry, "bound", id), seq+1, nil)
		}
	}
	return nil
}

// binding is the record of what is not nil, or nil.
func binding(s *core.Subscription, g *core.Registration) []byte {
	switch {
	case s != nil:
		return record.AppendSubscription(nil, s)
	case g != nil:
		return record.AppendRegistration(nil, g)
	}
	return nil
}

func (r *registry) put(ctx context.Context, id string, data []byte) (uint64, error) {
	seq, err := persist(ctx, r.store, store.Put{Subject: r.store.Subject(store.Registry, "bound", id), Data: data}, saveTime)
	return seq, storeError(err, "keep the registration")
}

// Subscription implements core.Registry.
func (r *registry) Subscription(id string) *core.Subscription {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.subs[id]
}

// Registration implements core.Registry.
func (r *registry) Registration(id string) *core.Registration {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.regs[id]
}

// all returns everything, and a channel that is closed at the next change.
func (r *registry) all() (subs []*core.Subscription, regs []*core.Registration, changed <-chan struct{}) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, s := range r.subs {
		subs = append(subs, s)
	}
	for _, g := range r.regs {
		regs = append(regs, g)
	}
	return subs, regs, r.waiting
}

// storeError turns an error of the store into one for whoever asked.
func storeError(err error, what string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrFull):
		e := core.Errorf(core.TooMany, "%s: no room is left in the store (engine.max_bytes)", what)
		e.RetryAfter = 10 * time.Second
		return e
	case errors.Is(err, store.ErrTooLarge):
		return core.Errorf(core.TooLarge, "%s: %w", what, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return core.AsError(fmt.Errorf("%s: %w", what, err))
	}
	e := core.Errorf(core.Unavailable, "%s: %w", what, err)
	e.RetryAfter = time.Second
	return e
}
