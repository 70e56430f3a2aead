package engine

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/core"
)

// Options are what an Engine needs; all fields are required but the bounds.
type Options struct {
	Sender Sender
	// Call runs an asynchronous call.
	Call func(ctx context.Context, c *core.Call) (*core.Result, error)
	// Gone is told of an endpoint that answered 410: it is to be unsubscribed.
	Gone func(ctx context.Context, s *core.Subscription)
	Log  *slog.Logger

	MaxBytes int64 // of everything owed; 0 = 256 MiB
	MaxCalls int   // asynchronous calls under way; 0 = 10,000
}

// Engine delivers. All its methods may be called concurrently.
type Engine struct {
	o   Options
	ctx context.Context //nolint:containedctx // the lifetime of the goroutines that Close waits for
	// stop ends attempts that are under way; Close calls it when its time is up.
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex // guards what follows; never held across I/O
	queues map[string]*queue
	bytes  int64
	room   chan struct{} // closed and replaced when bytes go down after somebody waited
	waits  bool
	closed bool

	calls    atomic.Int64
	counters counters
}

type counters struct {
	attempts, delivered, failed, deadLetters, gone, dropped atomic.Int64
	pending                                                 atomic.Int64
}

// New makes an engine with nothing owed.
func New(o Options) *Engine {
	if o.MaxBytes == 0 {
		o.MaxBytes = 256 << 20
	}
	if o.MaxCalls == 0 {
		o.MaxCalls = 10_000
	}
	ctx, stop := context.WithCancel(context.Background())
	return &Engine{o: o, ctx: ctx, stop: stop, queues: map[string]*queue{}, room: make(chan struct{})}
}

// deliveryOverhead is what one delivery weighs beside its payload, in bytes.
const deliveryOverhead = 200

// Deliver implements core.Deliverer. The debt is in memory when it returns. It
// waits while more than MaxBytes are owed.
func (e *Engine) Deliver(ctx context.Context, event *core.Event, to []*core.Subscription) error {
	size := int64(event.Size()/max(len(to), 1) + deliveryOverhead) // the payload is shared
	for {
		e.mu.Lock()
		if e.closed {
			e.mu.Unlock()
			return core.Errorf(core.Unavailable, "the bridge is shutting down")
		}
		if e.bytes < e.o.MaxBytes {
			break
		}
		e.waits = true
		room := e.room
		e.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer e.mu.Unlock()
	for _, s := range to {
		d := &delivery{id: event.ID + "_" + s.ID(), size: size, event: event, subscription: s}
		e.push(s.ID(), &s.Endpoint, d)
	}
	return nil
}

// StartCall runs the call and owes its outcome to an endpoint, under the returned
// id, at least once. The call itself is attempted once.
func (e *Engine) StartCall(_ context.Context, owner string, call *core.Call, timeout time.Duration, to core.Endpoint) (string, error) {
	if e.calls.Add(1) > int64(e.o.MaxCalls) {
		e.calls.Add(-1)
		err := core.Errorf(core.TooMany, "%d asynchronous calls are under way", e.o.MaxCalls)
		err.RetryAfter = time.Second
		return "", err
	}
	id := core.NewID("call")
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		e.calls.Add(-1)
		return "", core.Errorf(core.Unavailable, "the bridge is shutting down")
	}
	e.wg.Add(1)
	e.mu.Unlock()
	go func() {
		defer e.wg.Done()
		defer e.calls.Add(-1)
		ctx, cancel := context.WithTimeout(e.ctx, timeout)
		defer cancel()
		result := &AsyncResult{CallID: id, Procedure: call.Procedure}
		var err error
		if result.Result, err = e.o.Call(ctx, call); err != nil {
			result.Err = core.AsError(err)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		size := deliveryOverhead
		if result.Result != nil {
			size += result.Result.Size()
		}
		e.push("call "+owner+" "+to.URL, &to, &delivery{id: id, size: int64(size), result: result})
	}()
	return id, nil
}

// push queues a delivery. e.mu is held.
func (e *Engine) push(key string, endpoint *core.Endpoint, d *delivery) {
	q := e.queues[key]
	if q == nil {
		q = newQueue(key, d.result != nil)
		e.queues[key] = q
	}
	q.configure(endpoint)
	q.waiting.push(d)
	e.bytes += d.size
	e.counters.pending.Add(1)
	e.start(q)
}

// start starts workers for what waits, up to the endpoint's concurrency. e.mu is
// held.
func (e *Engine) start(q *queue) {
	for q.workers < q.concurrency && q.waiting.len() > q.idle() && !q.blocked && !e.closed {
		q.workers++
		e.wg.Go(func() { e.work(q) })
	}
}

// work makes attempts for one endpoint until nothing is ready.
func (e *Engine) work(q *queue) {
	for {
		e.mu.Lock()
		var d *delivery
		if !e.closed {
			d = q.take()
		}
		if d == nil {
			q.workers--
			e.drop(q)
			e.mu.Unlock()
			return
		}
		limiter := q.limiter
		e.mu.Unlock()
		if limiter != nil {
			_ = limiter.Wait(e.ctx)
		}
		e.attempt(q, d)
	}
}

// attempt makes one try and decides what becomes of the delivery.
func (e *Engine) attempt(q *queue, d *delivery) {
	d.attempts++
	e.counters.attempts.Add(1)
	a := &Attempt{ID: d.id, Number: d.attempts, Event: d.event, Subscription: d.subscription, Result: d.result}
	e.mu.Lock()
	endpoint := q.endpoint
	e.mu.Unlock()
	a.Endpoint = &endpoint
	out := e.o.Sender.Send(e.ctx, a)

	schedule := endpoint.Retry
	if schedule == nil {
		schedule = DefaultRetry()
	}
	e.mu.Lock()
	q.running--
	q.health.note(out)
	if out.Done || out.Gone {
		e.settle(q, d)
		if out.Done {
			e.counters.delivered.Add(1)
			q.health.Delivered++
		}
		e.mu.Unlock()
		if out.Gone {
			e.gone(d)
		}
		return
	}
	e.counters.failed.Add(1)
	q.health.Failed++
	if out.Ours {
		d.attempts-- // not the endpoint's fault
	}
	pause, again := time.Second, true
	if !out.Ours {
		pause, again = nextAttempt(schedule, d.attempts, out.RetryAfter)
	}
	if !again {
		e.settle(q, d)
		e.counters.deadLetters.Add(1)
		e.mu.Unlock()
		e.o.Log.Error("delivery given up", slog.String("id", d.id), slog.Int("attempts", d.attempts), slog.Int("status", out.Status), slog.Any("error", out.Err))
		return
	}
	q.retry(d, pause, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		q.wake(d)
		e.start(q)
	})
	e.mu.Unlock()
	e.o.Log.Warn("attempt failed", slog.String("id", d.id), slog.Int("attempt", a.Number), slog.Int("status", out.Status), slog.Duration("next", pause), slog.Any("error", out.Err))
}

// settle takes a delivery off the books. e.mu is held.
func (e *Engine) settle(q *queue, d *delivery) {
	e.bytes -= d.size
	e.counters.pending.Add(-1)
	q.settled(d)
	if e.waits && e.bytes < e.o.MaxBytes {
		close(e.room)
		e.room, e.waits = make(chan struct{}), false
	}
	e.start(q)
}

// gone forgets everything owed to an endpoint that answered 410 and has it
// unsubscribed.
func (e *Engine) gone(d *delivery) {
	e.counters.gone.Add(1)
	if d.subscription == nil {
		return
	}
	e.Forget(d.subscription.ID())
	e.o.Log.Info("endpoint gone", slog.String("subscription", d.subscription.ID()))
	e.o.Gone(e.ctx, d.subscription)
}

// Forget drops what is owed to a subscription that no longer exists. Attempts
// under way are finished.
func (e *Engine) Forget(subscriptionID string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	q := e.queues[subscriptionID]
	if q == nil {
		return
	}
	for _, d := range q.clear() {
		e.counters.dropped.Add(1)
		e.settle(q, d)
	}
	delete(e.queues, subscriptionID)
}

// drop forgets a queue of results once it is empty: their keys come from callback
// URLs and would pile up. e.mu is held.
func (e *Engine) drop(q *queue) {
	if q.temporary && q.empty() && e.queues[q.key] == q {
		delete(e.queues, q.key)
	}
}

// Counters are cumulative, but for those that end in "_now".
func (e *Engine) Counters() map[string]int64 {
	e.mu.Lock()
	bytes, endpoints := e.bytes, len(e.queues)
	e.mu.Unlock()
	return map[string]int64{
		"attempts":        e.counters.attempts.Load(),
		"delivered":       e.counters.delivered.Load(),
		"attempts_failed": e.counters.failed.Load(),
		"dead_letters":    e.counters.deadLetters.Load(),
		"endpoints_gone":  e.counters.gone.Load(),
		"dropped":         e.counters.dropped.Load(),
		"pending_now":     e.counters.pending.Load(),
		"bytes_now":       bytes,
		"endpoints_now":   int64(endpoints),
		"async_calls_now": e.calls.Load(),
	}
}

// Health tells how an endpoint is doing; it is zero for one that was never owed
// anything.
func (e *Engine) Health(subscriptionID string) Health {
	e.mu.Lock()
	defer e.mu.Unlock()
	q := e.queues[subscriptionID]
	if q == nil {
		return Health{}
	}
	h := q.health
	h.Pending = int64(q.pending())
	return h
}

// Drain waits until nothing is ready to be attempted, or ctx ends. Deliveries that
// wait for a retry are not waited for.
func (e *Engine) Drain(ctx context.Context) error {
	for {
		e.mu.Lock()
		busy := e.calls.Load() > 0
		for _, q := range e.queues {
			busy = busy || q.running > 0 || (q.waiting.len() > 0 && !q.blocked)
		}
		e.mu.Unlock()
		if !busy {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close drains until ctx ends, then stops. What is still owed is lost, and said so
// in the log.
func (e *Engine) Close(ctx context.Context) error {
	err := e.Drain(ctx)
	e.mu.Lock()
	e.closed = true
	for _, q := range e.queues {
		q.stopTimers()
	}
	e.mu.Unlock()
	e.stop()
	e.wg.Wait()
	if n := e.counters.pending.Load(); n > 0 {
		e.o.Log.Warn("deliveries lost at shutdown", slog.Int64("deliveries", n))
	}
	return err
}
