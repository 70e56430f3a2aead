package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// endpoint is a callback that a test scripts: answer decides each attempt.
type endpoint struct {
	answer func(a *engine.Attempt) engine.Outcome

	mu       sync.Mutex
	attempts []string // "id#number"
	at       []time.Time
	now, max int
}

func (s *endpoint) Send(ctx context.Context, a *engine.Attempt) engine.Outcome {
	s.mu.Lock()
	s.attempts = append(s.attempts, fmt.Sprintf("%s#%d", a.ID, a.Number))
	s.at = append(s.at, time.Now())
	s.now++
	s.max = max(s.max, s.now)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.now--
		s.mu.Unlock()
	}()
	if s.answer == nil {
		return engine.Outcome{Done: true, Status: 200}
	}
	return s.answer(a)
}

func newEngine(s engine.Sender, more ...func(*engine.Options)) *engine.Engine {
	o := engine.Options{
		Sender: s,
		Call:   func(context.Context, *core.Call) (*core.Result, error) { return &core.Result{}, nil },
		Gone:   func(context.Context, *core.Subscription) {},
		Log:    slog.New(slog.DiscardHandler),
	}
	for _, f := range more {
		f(&o)
	}
	return engine.New(o)
}

func subscription(owner string, ep core.Endpoint) *core.Subscription {
	ep.URL = "http://" + owner + ".test/"
	return &core.Subscription{Owner: owner, Pattern: core.Pattern{Address: core.Address{Backend: "wamp", Name: "t"}, Match: core.Exact}, Endpoint: ep}
}

func event(id string) *core.Event { return &core.Event{ID: id} }

var errDown = errors.New("connection refused")

func failing(*engine.Attempt) engine.Outcome { return engine.Outcome{Err: errDown} }

func deliver(t *testing.T, e *engine.Engine, s *core.Subscription, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := e.Deliver(t.Context(), event(id), []*core.Subscription{s}); err != nil {
			t.Fatal(err)
		}
	}
}

// pass lets the bubble's time go by and everything due happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func closeNow(t *testing.T, e *engine.Engine) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = e.Close(ctx)
}

func TestEventIsDeliveredToEverySubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &endpoint{}
		e := newEngine(to)
		a, b := subscription("a", core.Endpoint{}), subscription("b", core.Endpoint{})
		if err := e.Deliver(t.Context(), event("e1"), []*core.Subscription{a, b}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want := []string{"e1_" + a.ID() + "#1", "e1_" + b.ID() + "#1"}
		slices.Sort(want)
		slices.Sort(to.attempts)
		if !slices.Equal(to.attempts, want) {
			t.Errorf("attempts = %v, want %v", to.attempts, want)
		}
		if h := e.Health(a.ID()); h.Delivered != 1 || h.Pending != 0 || h.LastStatus != 200 {
			t.Errorf("health = %+v", h)
		}
		closeNow(t, e)
	})
}

func TestRetriesKeepTheIDAndFollowTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &endpoint{answer: failing}
		e := newEngine(to)
		s := subscription("a", core.Endpoint{Retry: []time.Duration{time.Second, time.Minute}})
		deliver(t, e, s, "e1")
		pass(time.Hour)
		id := "e1_" + s.ID()
		if want := []string{id + "#1", id + "#2", id + "#3"}; !slices.Equal(to.attempts, want) {
			t.Fatalf("attempts = %v, want %v", to.attempts, want)
		}
		for i, want := range []time.Duration{time.Second, time.Minute} {
			got := to.at[i+1].Sub(to.at[i])
			if got < want*8/10 || got > want*12/10 {
				t.Errorf("pause %d = %v, want %v ± 20 %%", i, got, want)
			}
		}
		c := e.Counters()
		if c["dead_letters"] != 1 || c["pending_now"] != 0 || c["bytes_now"] != 0 {
			t.Errorf("counters = %v", c)
		}
		closeNow(t, e)
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &endpoint{answer: func(a *engine.Attempt) engine.Outcome {
			if a.Number == 1 {
				return engine.Outcome{Status: 503, RetryAfter: time.Minute, Err: errDown}
			}
			return engine.Outcome{Done: true}
		}}
		e := newEngine(to)
		deliver(t, e, subscription("a", core.Endpoint{Retry: []time.Duration{time.Second}}), "e1")
		pass(time.Hour)
		if len(to.at) != 2 || to.at[1].Sub(to.at[0]) != time.Minute {
			t.Errorf("attempts at %v, want two a minute apart", to.at)
		}
		closeNow(t, e)
	})
}

func TestOurOwnFailureUsesUpNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		to := &endpoint{}
		to.answer = func(*engine.Attempt) engine.Outcome {
			if n++; n <= 3 {
				return engine.Outcome{Ours: true, Err: errDown}
			}
			return engine.Outcome{Done: true}
		}
		e := newEngine(to)
		s := subscription("a", core.Endpoint{Retry: []time.Duration{}})
		deliver(t, e, s, "e1")
		pass(time.Minute)
		if e.Counters()["delivered"] != 1 {
			t.Errorf("not delivered: %v", to.attempts)
		}
		closeNow(t, e)
	})
}

func TestOrderedEndpointGetsOneAtATimeAndWaitsBehindAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := map[string]int{"e2": 2}
		var order []string
		to := &endpoint{}
		to.answer = func(a *engine.Attempt) engine.Outcome {
			time.Sleep(time.Millisecond)
			if failures[a.Event.ID] > 0 {
				failures[a.Event.ID]--
				return engine.Outcome{Err: errDown}
			}
			order = append(order, a.Event.ID)
			return engine.Outcome{Done: true}
		}
		e := newEngine(to)
		s := subscription("a", core.Endpoint{Ordered: true})
		deliver(t, e, s, "e1", "e2", "e3", "e4")
		pass(time.Hour)
		if want := []string{"e1", "e2", "e3", "e4"}; !slices.Equal(order, want) {
			t.Errorf("delivered %v, want %v", order, want)
		}
		if to.max != 1 {
			t.Errorf("%d attempts at once, want 1", to.max)
		}
		closeNow(t, e)
	})
}

func TestConcurrencyAndRateAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &endpoint{answer: func(*engine.Attempt) engine.Outcome {
			time.Sleep(time.Second)
			return engine.Outcome{Done: true}
		}}
		e := newEngine(to)
		s := subscription("a", core.Endpoint{Concurrency: 3})
		for i := range 9 {
			deliver(t, e, s, fmt.Sprint("e", i))
		}
		start := time.Now()
		if err := e.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if took := time.Since(start).Round(time.Second); to.max != 3 || took != 3*time.Second {
			t.Errorf("%d at once in %v, want 3 in 3 s", to.max, took)
		}

		to.at = nil
		limited := subscription("b", core.Endpoint{Rate: 1, Concurrency: 8})
		deliver(t, e, limited, "r1", "r2", "r3")
		pass(time.Minute)
		if len(to.at) != 3 || to.at[2].Sub(to.at[0]) < 1900*time.Millisecond {
			t.Errorf("attempts at %v, want one a second", to.at)
		}
		closeNow(t, e)
	})
}

func TestAFailingEndpointDelaysNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := subscription("bad", core.Endpoint{})
		good := subscription("good", core.Endpoint{})
		to := &endpoint{}
		to.answer = func(a *engine.Attempt) engine.Outcome {
			if a.Subscription == bad {
				time.Sleep(15 * time.Second)
				return engine.Outcome{Err: errDown}
			}
			return engine.Outcome{Done: true}
		}
		e := newEngine(to)
		for i := range 100 {
			if err := e.Deliver(t.Context(), event(fmt.Sprint(i)), []*core.Subscription{bad, good}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if h := e.Health(good.ID()); h.Delivered != 100 {
			t.Errorf("good endpoint has %d of 100", h.Delivered)
		}
		closeNow(t, e)
	})
}

func TestGoneEndpointIsUnsubscribedAndOwedNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone []*core.Subscription
		to := &endpoint{answer: func(*engine.Attempt) engine.Outcome { return engine.Outcome{Gone: true, Status: 410} }}
		e := newEngine(to, func(o *engine.Options) {
			o.Gone = func(_ context.Context, s *core.Subscription) { gone = append(gone, s) }
		})
		s := subscription("a", core.Endpoint{Ordered: true})
		deliver(t, e, s, "e1", "e2", "e3")
		synctest.Wait()
		if len(to.attempts) > 2 || len(gone) == 0 || gone[0] != s {
			t.Errorf("attempts %v, gone %v", to.attempts, gone)
		}
		if c := e.Counters(); c["pending_now"] != 0 || c["bytes_now"] != 0 {
			t.Errorf("counters = %v", c)
		}
		closeNow(t, e)
	})
}

func TestDeliverWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &endpoint{answer: func(*engine.Attempt) engine.Outcome {
			time.Sleep(time.Second)
			return engine.Outcome{Done: true}
		}}
		e := newEngine(to, func(o *engine.Options) { o.MaxBytes = 500 })
		s := subscription("a", core.Endpoint{Concurrency: 1})
		deliver(t, e, s, "e1", "e2", "e3")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := e.Deliver(ctx, event("e4"), []*core.Subscription{s}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Deliver into a full engine = %v, want it to wait", err)
		}
		deliver(t, e, s, "e4")
		pass(time.Minute)
		if n := e.Counters()["delivered"]; n != 4 {
			t.Errorf("delivered %d of 4", n)
		}
		closeNow(t, e)
	})
}

func TestAsyncCallOwesItsResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got *engine.AsyncResult
		to := &endpoint{}
		to.answer = func(a *engine.Attempt) engine.Outcome {
			if a.Number == 1 {
				return engine.Outcome{Err: errDown}
			}
			got = a.Result
			return engine.Outcome{Done: true}
		}
		e := newEngine(to, func(o *engine.Options) {
			o.Call = func(context.Context, *core.Call) (*core.Result, error) {
				time.Sleep(time.Second)
				return nil, core.Errorf(core.Application, "sold out")
			}
		})
		id, err := e.StartCall(t.Context(), "shop", &core.Call{}, time.Minute, core.Endpoint{URL: "http://shop.test/"})
		if err != nil {
			t.Fatal(err)
		}
		pass(time.Hour)
		if got == nil || got.CallID != id || got.Err == nil || got.Err.Message != "sold out" {
			t.Errorf("result = %+v, want the error of call %s", got, id)
		}
		if n := e.Counters()["endpoints_now"]; n != 0 {
			t.Errorf("%d queues left behind", n)
		}
		closeNow(t, e)
	})
}

func TestCloseDrainsWhatIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &endpoint{answer: func(*engine.Attempt) engine.Outcome {
			time.Sleep(time.Second)
			return engine.Outcome{Done: true}
		}}
		e := newEngine(to)
		s := subscription("a", core.Endpoint{Concurrency: 1})
		deliver(t, e, s, "e1", "e2", "e3")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := e.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if n := e.Counters()["delivered"]; n != 3 {
			t.Errorf("delivered %d of 3", n)
		}
		if err := e.Deliver(t.Context(), event("e4"), []*core.Subscription{s}); core.CodeOf(err) != core.Unavailable {
			t.Errorf("Deliver after Close = %v", err)
		}
	})
}
