package routes

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/core"
)

const (
	// What may wait for one target of a route that is not durable.
	maxQueued      = 65536
	maxQueuedBytes = 64 << 20
	// publishTime bounds how long a target may take to accept what is carried to it.
	publishTime = 30 * time.Second
	// maxBatch is how many events a target is given at once: more than that, and it
	// would refuse some of what has waited for it.
	maxBatch = 1024
	// eventOverhead is what an event counts in a queue beside its payload.
	eventOverhead = 256
)

// carrier carries events to one target of a route.
type carrier struct {
	bridge *core.Bridge
	log    *slog.Logger
	owner  string // of its subscription: the same after a restart
	to     *target
	route  atomic.Pointer[Route]
	brake  atomic.Pointer[brake] // nil: nothing can come back
	count  counters
	queue  *core.Pipe[*core.Event] // nil for a durable one

	mu        sync.Mutex
	lastError string
	lastAt    time.Time
}

// counters are what became of the events that came for a carrier.
type counters struct {
	carried  atomic.Int64
	filtered atomic.Int64 // when was false
	dropped  atomic.Int64 // the queue was full
	refused  atomic.Int64 // the target did not take it
	failed   atomic.Int64 // an expression failed
	braked   atomic.Int64 // it seemed to go round
}

func newCarrier(b *core.Bridge, log *slog.Logger, r *Route, t *target) *carrier {
	c := &carrier{bridge: b, log: log, owner: ownerOf(r, t), to: t}
	c.route.Store(r)
	if !r.Durable {
		c.queue = core.NewPipe[*core.Event](maxQueued, maxQueuedBytes, nil)
	}
	return c
}

func ownerOf(r *Route, t *target) string { return core.RouteOwner + r.Name + ">" + t.text }

// offer takes an event for a carrier that is not durable, or drops it.
func (c *carrier) offer(e *core.Event) {
	if !c.queue.TryPut(e, e.Size()+eventOverhead) {
		c.count.dropped.Add(1)
		c.note(errors.New("more events came than the target takes: some were dropped"))
	}
}

// run carries what was offered until the queue ends.
func (c *carrier) run(ctx context.Context) {
	for {
		batch, err := c.queue.Next(ctx)
		if err != nil {
			return
		}
		out := make([]*core.Event, 0, len(batch))
		for _, from := range batch {
			e, err := c.make(from)
			switch {
			case err != nil:
				c.count.failed.Add(1)
				c.note(err)
			case e != nil:
				c.passed(from, e)
				out = append(out, e)
			}
		}
		for piece := range slices.Chunk(out, maxBatch) {
			c.publish(ctx, piece)
		}
	}
}

func (c *carrier) publish(ctx context.Context, events []*core.Event) {
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	for _, err := range c.bridge.PublishBatch(ctx, events) {
		if err != nil {
			c.count.refused.Add(1)
			c.note(err)
			continue
		}
		c.count.carried.Add(1)
	}
}

// make makes of an event what is published, or nil if the route does not want it.
func (c *carrier) make(from *core.Event) (*core.Event, error) {
	r := c.route.Load()
	e, err := r.envOf(from)
	if err != nil {
		return nil, err
	}
	wanted, err := r.wants(e)
	if err != nil {
		return nil, err
	}
	if !wanted {
		c.count.filtered.Add(1)
		return nil, nil //nolint:nilnil // documented
	}
	b := c.brake.Load()
	if b != nil && b.stops(from.Payload) {
		c.count.braked.Add(1)
		c.note(errGoesRound)
		return nil, nil //nolint:nilnil // documented
	}
	return r.event(from, e, c.to)
}

// passed has the brake know of an event that is being carried.
func (c *carrier) passed(from, made *core.Event) {
	if b := c.brake.Load(); b != nil {
		b.passed(from.Payload, made.Payload)
	}
}

// carry carries one event for a durable carrier. The same id is the same event.
func (c *carrier) carry(ctx context.Context, from *core.Event, id string) error {
	e, err := c.make(from)
	if err != nil {
		c.count.failed.Add(1)
		c.note(err)
		return core.Errorf(core.InvalidArgument, "%w", err)
	}
	if e == nil {
		return nil
	}
	e.ID = id
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	if err := c.bridge.Publish(ctx, e); err != nil {
		c.note(err)
		return err
	}
	c.passed(from, e)
	c.count.carried.Add(1)
	return nil
}

// wants reports whether a durable carrier is to be owed the event. An expression that
// fails is found out when it is carried.
func (c *carrier) wants(from *core.Event) bool {
	r := c.route.Load()
	if r.when == nil {
		return true
	}
	e, err := r.eventEnv(from)
	if err != nil {
		return true
	}
	wanted, err := r.wants(e)
	if err == nil && !wanted {
		c.count.filtered.Add(1)
		return false
	}
	return true
}

// note remembers the last thing that went wrong, and logs the first of each second.
func (c *carrier) note(err error) {
	now := time.Now()
	c.mu.Lock()
	quiet := now.Sub(c.lastAt) < time.Second
	c.lastError, c.lastAt = err.Error(), now
	c.mu.Unlock()
	if !quiet {
		c.log.Warn("route", slog.String("route", c.route.Load().Name), slog.String("to", c.to.text), slog.Any("error", err))
	}
}

func (c *carrier) trouble() (string, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastError, c.lastAt
}
