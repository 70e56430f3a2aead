package engine_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// senderFunc is a Sender.
type senderFunc func(ctx context.Context, a *engine.Attempt) engine.Outcome

func (f senderFunc) Send(ctx context.Context, a *engine.Attempt) engine.Outcome { return f(ctx, a) }

// hang is an endpoint that never answers.
func hang(ctx context.Context, _ *engine.Attempt) engine.Outcome {
	<-ctx.Done()
	return engine.Outcome{Ours: true, Err: ctx.Err()}
}

var done = engine.Outcome{Done: true, Status: 200}

func TestConcurrencyIsBounded(t *testing.T) {
	var now, most, n atomic.Int64
	gate := make(chan struct{})
	to := senderFunc(func(context.Context, *engine.Attempt) engine.Outcome {
		if n.Add(1) > 10 { // the first ones earn the right to more at once
			most.Store(max(most.Load(), now.Add(1)))
			<-gate
			now.Add(-1)
		}
		return done
	})
	e := open(t, options(t.TempDir(), to))
	s := subscription("a", core.Endpoint{Concurrency: 3})
	subscribe(t, e, s)
	deliver(t, e, []*core.Subscription{s}, ids("e", 50)...)
	within(t, 10*time.Second, "three attempts at once", func() bool { return now.Load() == 3 })
	close(gate)
	within(t, 10*time.Second, "50 deliveries", func() bool { return e.Counters()["delivered"] == 50 })
	if most.Load() != 3 {
		t.Errorf("%d attempts at once, want 3", most.Load())
	}
}

func TestRateIsBounded(t *testing.T) {
	to := &endpoints{}
	e := open(t, options(t.TempDir(), to))
	s := subscription("a", core.Endpoint{Rate: 20})
	subscribe(t, e, s)
	began := time.Now()
	deliver(t, e, []*core.Subscription{s}, ids("e", 40)...)
	within(t, 20*time.Second, "40 deliveries", func() bool { return to.delivered() == 40 })
	if took := time.Since(began); took < 950*time.Millisecond { // a burst of 20, and 20 in a second
		t.Errorf("40 deliveries at 20 per second took %v", took)
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	var first atomic.Bool
	to := &endpoints{answer: func(*engine.Attempt) engine.Outcome {
		if !first.Swap(true) {
			return engine.Outcome{Status: 429, RetryAfter: 700 * time.Millisecond, Err: errDown}
		}
		return done
	}}
	e := open(t, options(t.TempDir(), to))
	s := subscription("a", core.Endpoint{Retry: []time.Duration{time.Millisecond}})
	subscribe(t, e, s)
	deliver(t, e, []*core.Subscription{s}, "e1")
	within(t, 10*time.Second, "the delivery", func() bool { return to.delivered() == 1 })
	if pause := to.at[1].Sub(to.at[0]); pause < 650*time.Millisecond {
		t.Errorf("the next attempt came after %v", pause)
	}
}

func TestOursUsesUpNoAttempts(t *testing.T) {
	var n atomic.Int64
	to := &endpoints{answer: func(*engine.Attempt) engine.Outcome {
		if n.Add(1) <= 2 {
			return engine.Outcome{Ours: true, Err: errDown}
		}
		return engine.Outcome{Status: 500, Err: errDown}
	}}
	e := open(t, options(t.TempDir(), to))
	s := subscription("a", core.Endpoint{Retry: []time.Duration{time.Millisecond}})
	subscribe(t, e, s)
	deliver(t, e, []*core.Subscription{s}, "e1")
	within(t, 20*time.Second, "a dead letter", func() bool { return e.Counters()["dead_letters"] == 1 })
	id := "e1_" + s.ID()
	if want := []string{id + "#1", id + "#1", id + "#1", id + "#2"}; !slices.Equal(to.attempts, want) {
		t.Errorf("attempts = %v, want %v", to.attempts, want)
	}
}

func TestGoneEndpointGetsNothingMore(t *testing.T) {
	to := &endpoints{answer: func(*engine.Attempt) engine.Outcome { return engine.Outcome{Gone: true, Status: 410} }}
	o := options(t.TempDir(), to)
	told, unsubscribe := make(chan *core.Subscription, 100), make(chan struct{})
	var e *engine.Engine
	o.Gone = func(ctx context.Context, s *core.Subscription) {
		told <- s
		<-unsubscribe
		if err := e.Registry().Delete(ctx, []*core.Subscription{s}, nil); err != nil {
			t.Error(err)
		}
	}
	e = open(t, o)
	s, other := subscription("a", core.Endpoint{}), subscription("b", core.Endpoint{Ordered: true})
	subscribe(t, e, s)
	deliver(t, e, []*core.Subscription{s}, ids("e", 100)...)
	if gone := <-told; gone.ID() != s.ID() {
		t.Errorf("gone: %s, want %s", gone.ID(), s.ID())
	}
	to.mu.Lock()
	to.answer = nil
	to.mu.Unlock()
	subscribe(t, e, other)
	deliver(t, e, []*core.Subscription{s, other}, ids("f", 10)...)
	within(t, 10*time.Second, "the deliveries to the other one", func() bool { return to.delivered() == 10 })
	close(unsubscribe)
	within(t, 10*time.Second, "the rest to be dropped", func() bool {
		c := e.Counters()
		return c["dropped"] == 109 && c["pending_now"] == 0
	})
	if n := to.attempted(); n != 11 || len(told) != 0 {
		t.Errorf("%d attempts, and told %d times more; want 11 and 0", n, len(told))
	}
}

// An endpoint that cannot be unsubscribed is asked again.
func TestGoneEndpointThatStaysIsAskedAgain(t *testing.T) {
	var n atomic.Int64
	to := &endpoints{answer: func(*engine.Attempt) engine.Outcome {
		if n.Add(1) == 1 {
			return engine.Outcome{Gone: true, Status: 410}
		}
		return done
	}}
	e := open(t, options(t.TempDir(), to))
	s := subscription("a", core.Endpoint{})
	subscribe(t, e, s)
	deliver(t, e, []*core.Subscription{s}, "e1", "e2")
	within(t, 10*time.Second, "the second delivery", func() bool { return to.delivered() == 1 })
}

// Few endpoints with much to do do not keep all attempts to themselves.
func TestBusyEndpointsLeaveAttemptsToOthers(t *testing.T) {
	var mu sync.Mutex
	var order []string
	step := make(chan struct{})
	to := senderFunc(func(_ context.Context, a *engine.Attempt) engine.Outcome {
		mu.Lock()
		order = append(order, a.Subscription.Owner)
		mu.Unlock()
		<-step
		return done
	})
	o := options(t.TempDir(), to)
	o.MaxSending = 1 // 16 in each lane
	e := open(t, o)
	var busy []*core.Subscription
	for _, owner := range []string{"a", "b", "c", "d"} {
		busy = append(busy, subscription(owner, core.Endpoint{}))
	}
	quiet := subscription("quiet", core.Endpoint{})
	subscribe(t, e, append(busy, quiet)...)
	deliver(t, e, busy, ids("e", 500)...)
	go func() {
		for range 2000 {
			step <- struct{}{}
		}
	}()
	within(t, 20*time.Second, "the busy ones to be in full swing", func() bool { return e.Counters()["delivered"] > 300 })
	deliver(t, e, []*core.Subscription{quiet}, "q")
	within(t, 20*time.Second, "everything", func() bool { return e.Counters()["delivered"] == 2000 || e.Counters()["delivered"] == 2001 })
	mu.Lock()
	turn := slices.Index(order, "quiet")
	mu.Unlock()
	if turn < 0 || turn > 1500 {
		t.Errorf("the quiet one had its turn after %d attempts of the others", turn)
	}
	close(step)
}

func TestResubscribingDuringAttempts(t *testing.T) {
	to := &endpoints{}
	e := open(t, options(t.TempDir(), to))
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := range 50 {
			s := subscription("a", core.Endpoint{Concurrency: 1 + n%5, Ordered: n%2 == 0, Rate: float64(1000 * (n % 3))})
			if err := e.Registry().Save(t.Context(), []*core.Subscription{s}, nil); err != nil {
				t.Error(err)
			}
		}
	})
	s := subscription("a", core.Endpoint{})
	subscribe(t, e, s)
	for range 20 {
		deliver(t, e, []*core.Subscription{s}, ids(core.NewID("e"), 50)...)
	}
	wg.Wait()
	within(t, 20*time.Second, "1000 deliveries", func() bool { return to.delivered() == 1000 })
}
