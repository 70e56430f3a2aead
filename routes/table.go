package routes

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/core"
)

// Table holds the routes that a bridge has. It stands between the bridge and the
// engine, for what is owed to routes (Deliverer, Carry), and between the bridge and the
// callbacks, for what is asked of them (Invoker).
type Table struct {
	bridge *core.Bridge
	log    *slog.Logger
	// kept lists the subscriptions that outlive the process.
	kept func() []*core.Subscription

	ctx   context.Context //nolint:containedctx // ends with Close
	stop  context.CancelFunc
	tasks sync.WaitGroup

	live atomic.Pointer[tables]

	change sync.Mutex // serialises Apply, Sync and Close
	closed bool
}

// tables are immutable.
type tables struct {
	carriers   map[string]*carrier // by owner
	procedures map[string]*procedure
}

// NewTable makes a table without routes. kept lists the subscriptions that outlive the
// process; nil: there are none. Attach has to come before everything else.
func NewTable(log *slog.Logger, kept func() []*core.Subscription) *Table {
	t := &Table{log: log, kept: kept}
	t.ctx, t.stop = context.WithCancel(context.Background())
	t.live.Store(&tables{})
	return t
}

// Attach tells which bridge the routes belong to.
func (t *Table) Attach(b *core.Bridge) { t.bridge = b }

// Apply replaces the routes; kind tells the kind of a backend. Sync establishes them.
func (t *Table) Apply(routes []*Route, kind func(backend string) string) {
	t.change.Lock()
	defer t.change.Unlock()
	before := t.live.Load()
	after := &tables{carriers: map[string]*carrier{}, procedures: map[string]*procedure{}}
	suspect := suspects(routes, kind)
	for _, r := range routes {
		for _, to := range r.targets {
			c := before.carriers[ownerOf(r, to)]
			if c == nil || (c.queue == nil) != r.Durable {
				c = newCarrier(t.bridge, t.log, r, to)
				if c.queue != nil && !t.closed {
					t.tasks.Go(func() { c.run(t.ctx) })
				}
			}
			c.route.Store(r)
			switch {
			case !suspect[r]:
				c.brake.Store(nil)
			case c.brake.Load() == nil:
				c.brake.Store(&brake{})
			}
			after.carriers[c.owner] = c
		}
		if !r.isEvents() {
			p := before.procedures[core.RouteOwner+r.Name]
			if p == nil {
				p = newProcedure(t.bridge, r)
			}
			p.route.Store(r)
			after.procedures[p.owner] = p
		}
	}
	t.live.Store(after)
	for owner, c := range before.carriers {
		if after.carriers[owner] != c && c.queue != nil {
			c.queue.End(nil) // what waits is still carried
		}
	}
}

// syncTime bounds the work on one subscription or registration.
const syncTime = 10 * time.Second

// Sync makes the bridge's subscriptions and registrations follow the routes. It returns
// how many could not be established.
func (t *Table) Sync(ctx context.Context) (left int) {
	t.change.Lock()
	defer t.change.Unlock()
	live := t.live.Load()
	try := func(what, owner string, p core.Pattern, f func(context.Context) error) {
		each, cancel := context.WithTimeout(ctx, syncTime)
		defer cancel()
		if err := f(each); err != nil {
			left++
			t.log.Warn(what, slog.String("route", owner), slog.String("pattern", p.String()), slog.Any("error", err))
		}
	}
	held := map[string]*core.Subscription{}
	var all []*core.Subscription
	if t.kept != nil {
		all = t.kept()
	}
	for _, s := range append(all, t.bridge.Subscriptions("")...) {
		if !core.IsRoute(s.Owner) {
			continue
		}
		if !live.wants(s) {
			try("route not removed yet", s.Owner, s.Pattern, func(ctx context.Context) error {
				_, err := t.bridge.Unsubscribe(ctx, s.Owner, []core.Pattern{s.Pattern})
				return err
			})
			continue
		}
		held[s.Owner] = s
	}
	for owner, c := range live.carriers {
		p := c.route.Load().From
		if held[owner] == nil || t.bridge.Lacks(owner, core.VerbSubscribe, []core.Pattern{p}) > 0 {
			try("route not established yet", owner, p, func(ctx context.Context) error {
				return t.bridge.Subscribe(ctx, []*core.Subscription{c.subscription()})
			})
		}
	}
	for _, r := range t.bridge.Registrations("") {
		if p := live.procedures[r.Owner]; core.IsRoute(r.Owner) && (p == nil || p.route.Load().Procedure != r.Pattern) {
			try("route not removed yet", r.Owner, r.Pattern, func(ctx context.Context) error {
				_, err := t.bridge.Unregister(ctx, r.Owner, []core.Pattern{r.Pattern})
				return err
			})
		}
	}
	for owner, p := range live.procedures {
		pattern := p.route.Load().Procedure
		if t.bridge.Lacks(owner, core.VerbRegister, []core.Pattern{pattern}) > 0 {
			try("route not established yet", owner, pattern, func(ctx context.Context) error {
				return t.bridge.Register(ctx, []*core.Registration{{Owner: owner, Pattern: pattern, Volatile: true, Created: time.Now()}})
			})
		}
	}
	return left
}

// Wants reports whether a route still holds the subscription, as it is.
func (t *Table) Wants(s *core.Subscription) bool { return t.live.Load().wants(s) }

func (l *tables) wants(s *core.Subscription) bool {
	c := l.carriers[s.Owner]
	return c != nil && c.route.Load().From == s.Pattern && s.Volatile != c.route.Load().Durable
}

// retry is the schedule of a durable route for what its target refuses. While the target
// is away nothing of it is used up.
func retry() []time.Duration { return []time.Duration{time.Second, 10 * time.Second, time.Minute} }

// subscription is what the bridge owes a carrier's events to.
func (c *carrier) subscription() *core.Subscription {
	r := c.route.Load()
	s := &core.Subscription{Owner: c.owner, Pattern: r.From, Volatile: !r.Durable, Created: time.Now()}
	if r.Durable {
		s.Endpoint = core.Endpoint{URL: c.owner, Ordered: true, Retry: retry()}
	}
	return s
}

// ErrNoRoute is Carry's answer for an owner that has no durable route here.
var ErrNoRoute = errors.New("this bridge has no such route: bridges that share a store need the same routes")

// Carry carries an event that is owed to a durable route. The same id is the same event.
func (t *Table) Carry(ctx context.Context, owner string, e *core.Event, id string) error {
	c := t.live.Load().carriers[owner]
	if c == nil || c.queue != nil {
		return ErrNoRoute
	}
	return c.carry(ctx, e, id)
}

// Close carries what waits in memory, until ctx ends, and takes nothing more.
func (t *Table) Close(ctx context.Context) {
	t.change.Lock()
	t.closed = true
	for _, c := range t.live.Load().carriers {
		if c.queue != nil {
			c.queue.End(nil)
		}
	}
	t.change.Unlock()
	done := make(chan struct{})
	go func() {
		t.tasks.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	t.stop()
	<-done
}
