package engine

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine/internal/store"
)

// Engine delivers. Open comes first and Close last; all other methods may be
// called concurrently in between.
type Engine struct {
	o        Options
	log      *slog.Logger
	instance string // tells this bridge from others on the same store

	store     *store.Store
	registry  *registry
	appenders []*appender
	lanes     []*lane
	leases    *leases

	ctx  context.Context //nolint:containedctx // the lifetime of the goroutines that Close waits for
	stop context.CancelFunc
	wg   sync.WaitGroup

	closing  atomic.Bool
	starting sync.RWMutex // held for reading between a look at closing and wg.Add
	room     room
	calls    atomic.Int64
	claims   claims
	troubles chan Trouble
	counters counters
}

type counters struct {
	accepted, attempts, delivered, failed, deadLetters, gone, dropped, repeated atomic.Int64
	spilled, retries, ours, replayed, untold                                    atomic.Int64
}

// New makes an engine. Nothing runs yet.
func New(o Options) *Engine {
	o.setDefaults()
	e := &Engine{o: o, log: o.Log, instance: core.NewID("bridge"), troubles: make(chan Trouble, maxTroubles)}
	e.claims.running = map[string]bool{}
	e.room.look = make(chan struct{}, 1)
	e.registry = newRegistry(e.log, e.bindingChanged)
	e.ctx, e.stop = context.WithCancel(context.Background())
	return e
}

// Open opens the store and goes on with what is owed. After an error nothing is
// left running.
func (e *Engine) Open(ctx context.Context) (err error) {
	e.store, err = store.Open(ctx, store.Config{
		Dir: e.o.Dir, URL: e.o.URL, Creds: e.o.Creds, CA: e.o.CA, Name: e.o.Name, Replicas: e.o.Replicas,
		Sync: e.o.Durability == Disk, MaxBytes: e.o.MaxBytes, Keep: e.o.KeepDead, Log: e.log,
	})
	if err != nil {
		return err
	}
	e.registry.store = e.store
	for n := range e.store.Lanes() {
		e.appenders = append(e.appenders, newAppender(e.store, n))
		e.lanes = append(e.lanes, newLane(e, n))
	}
	e.leases = newLeases(e)
	e.registry.others = e.leases.saw
	e.wg.Go(func() { e.registry.follow(e.ctx) })
	select {
	case <-e.registry.loaded:
	case <-ctx.Done():
		e.stop()
		e.wg.Wait()
		e.store.Close()
		return fmt.Errorf("read the registry: %w", ctx.Err())
	}
	for _, a := range e.appenders {
		e.wg.Go(func() { a.run(e.ctx) })
	}
	e.wg.Go(e.measure)
	e.wg.Go(func() { e.tellTroubles(e.ctx) })
	e.wg.Go(func() { e.leases.run(e.ctx) })
	return nil
}

// Registry is where subscriptions and registrations are kept. It can be asked for
// before Open, but not used.
func (e *Engine) Registry() core.Registry { return e.registry }

// Bindings returns all subscriptions and registrations that are kept, and a
// channel that is closed at the next change.
func (e *Engine) Bindings() ([]*core.Subscription, []*core.Registration, <-chan struct{}) {
	return e.registry.all()
}

// bindingChanged tells the lanes of a subscription that is new, replaced or gone.
func (e *Engine) bindingChanged(old, now *core.Subscription) {
	s := now
	if s == nil {
		s = old
	}
	l := e.lanes[e.laneOf(s.Pattern)]
	l.bindingChanged(s.ID(), now)
}

// begin has Close wait for the caller, who calls wg.Done at the end; false when the
// engine is being closed.
func (e *Engine) begin() bool {
	e.starting.RLock()
	defer e.starting.RUnlock()
	if e.closing.Load() {
		return false
	}
	e.wg.Add(1)
	return true
}

// close reports whether the engine is to be closed now.
func (e *Engine) close() bool {
	e.starting.Lock()
	defer e.starting.Unlock()
	return !e.closing.Swap(true)
}

// Close stops what is new, waits until ctx ends for asynchronous calls and for
// attempts under way, and closes the store. What is owed stays there.
func (e *Engine) Close(ctx context.Context) error {
	if !e.close() || e.store == nil {
		return nil
	}
	err := e.Drain(ctx)
	if stopErr := e.leases.close(ctx); err == nil {
		err = stopErr
	}
	e.stop()
	e.wg.Wait()
	e.store.Close()
	return err
}

// Drain waits until no asynchronous call is under way, or ctx ends.
func (e *Engine) Drain(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for e.calls.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Counters are cumulative, but for those that end in "_now".
func (e *Engine) Counters() map[string]int64 {
	c := &e.counters
	used, limit := e.store.Used()
	out := map[string]int64{
		"accepted": c.accepted.Load(), "attempts": c.attempts.Load(), "delivered": c.delivered.Load(),
		"attempts_failed": c.failed.Load(), "attempts_ours": c.ours.Load(), "retries": c.retries.Load(),
		"dead_letters": c.deadLetters.Load(), "endpoints_gone": c.gone.Load(), "dropped": c.dropped.Load(),
		"repeated": c.repeated.Load(), "spilled": c.spilled.Load(), "replayed": c.replayed.Load(),
		"notices_dropped": c.untold.Load(),
		"async_calls_now": e.calls.Load(), "stored_bytes_now": used, "stored_bytes_max_now": limit,
	}
	for _, l := range e.lanes {
		s := l.snapshot.Load()
		if s == nil {
			continue
		}
		out["pending_now"] += s.Pending
		out["attempts_now"] += s.Running
		out["endpoints_now"] += s.Endpoints
		out["endpoints_parked_now"] += int64(s.parked)
		out["endpoints_disabled_now"] += int64(s.disabled)
		if !s.Oldest.IsZero() {
			out["oldest_seconds_now"] = max(out["oldest_seconds_now"], int64(time.Since(s.Oldest).Seconds()))
		}
	}
	return out
}
