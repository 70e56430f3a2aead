package engine_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// bury makes dead letters of events, for subscriptions that do not retry.
func bury(t *testing.T, e *engine.Engine, subs []*core.Subscription, events ...string) {
	t.Helper()
	before := e.Counters()["dead_letters"]
	deliver(t, e, subs, events...)
	within(t, 20*time.Second, "dead letters", func() bool {
		return e.Counters()["dead_letters"] == before+int64(len(subs)*len(events))
	})
}

// list are the IDs of what the filter means, page by page.
func list(t *testing.T, e *engine.Engine, f engine.Filter) (found []string) {
	t.Helper()
	for {
		page, next, err := e.Deliveries(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page {
			found = append(found, d.ID)
		}
		if next == "" {
			return found
		}
		f.After = next
	}
}

func TestDeadLettersAreListedReplayedAndDiscarded(t *testing.T) {
	var up atomic.Bool
	to := &endpoints{answer: func(*engine.Attempt) engine.Outcome {
		if up.Load() {
			return done
		}
		return engine.Outcome{Status: 500, Err: errDown, Answer: "oops"}
	}}
	e := open(t, options(t.TempDir(), to))
	once := core.Endpoint{Retry: []time.Duration{}}
	a, b := subscription("a", once), subscription("b", once)
	subscribe(t, e, a, b)
	bury(t, e, []*core.Subscription{a, b}, ids("e", 25)...)
	bury(t, e, []*core.Subscription{a}, "odd.id *>")
	var wantA []string
	for _, id := range append(ids("e", 25), "odd.id *>") {
		wantA = append(wantA, id+"_"+a.ID())
	}
	for name, f := range map[string]engine.Filter{
		"by owner": {Owner: "a"}, "by subscription": {Subscription: a.ID()}, "in pages of 7": {Owner: "a", Limit: 7}, "in pages of 1": {Subscription: a.ID(), Limit: 1},
	} {
		f.State = engine.Failed
		got := list(t, e, f)
		slices.Sort(got)
		if !slices.Equal(got, wantA) {
			t.Errorf("%s: %d of %d: %v", name, len(got), len(wantA), got)
		}
	}
	if got := list(t, e, engine.Filter{State: engine.Failed, Limit: 10}); len(got) != 51 {
		t.Errorf("%d in all, want 51", len(got))
	}
	if got := list(t, e, engine.Filter{State: engine.Failed, Owner: "b", Subscription: a.ID()}); len(got) != 0 {
		t.Errorf("b's at a's endpoint: %v", got)
	}
	for _, f := range []engine.Filter{{}, {State: "lost"}, {State: engine.Failed, After: "x"}} {
		if _, _, err := e.Deliveries(t.Context(), f); core.CodeOf(err) != core.InvalidArgument {
			t.Errorf("%+v: %v", f, err)
		}
	}

	odd := wantA[25]
	d, err := e.Delivery(t.Context(), "a", odd)
	if err != nil || d.ID != odd || d.Subscription != a.ID() || string(d.Payload.Args) != `["odd.id *>"]` || d.Died.IsZero() || len(d.Tries) != 1 || d.Tries[0].Answer != "oops" {
		t.Errorf("dead letter = %+v, %v", d, err)
	}
	if _, err := e.Delivery(t.Context(), "b", odd); core.CodeOf(err) != core.NotFound {
		t.Errorf("b asks for a's: %v", err)
	}
	if err := e.Discard(t.Context(), "b", odd); core.CodeOf(err) != core.NotFound {
		t.Errorf("b discards a's: %v", err)
	}
	if err := e.Discard(t.Context(), "a", odd); err != nil {
		t.Error(err)
	}
	if err := e.Discard(t.Context(), "a", odd); core.CodeOf(err) != core.NotFound {
		t.Errorf("discarded twice: %v", err)
	}

	up.Store(true)
	if n, err := e.ReplayAll(t.Context(), engine.Filter{Owner: "a"}); n != 25 || err != nil {
		t.Fatalf("ReplayAll = %d, %v", n, err)
	}
	within(t, 10*time.Second, "the replayed ones", func() bool { return to.delivered() == 25 })
	if err := e.Registry().Delete(t.Context(), []*core.Subscription{b}, nil); err != nil {
		t.Fatal(err)
	}
	if n, err := e.ReplayAll(t.Context(), engine.Filter{}); n != 0 || err != nil {
		t.Errorf("ReplayAll without the subscription = %d, %v", n, err)
	}
	if err := e.Replay(t.Context(), "b", "e00000_"+b.ID()); core.CodeOf(err) != core.NotFound {
		t.Errorf("Replay without the subscription: %v", err)
	}
	if got := list(t, e, engine.Filter{State: engine.Failed}); len(got) != 25 {
		t.Errorf("%d left, want b's 25", len(got))
	}
}

func TestReplayBringsARetryForward(t *testing.T) {
	var up atomic.Bool
	to := &endpoints{answer: func(*engine.Attempt) engine.Outcome { return engine.Outcome{Done: up.Load(), Err: errDown} }}
	e := open(t, options(t.TempDir(), to))
	s := subscription("a", core.Endpoint{Retry: []time.Duration{time.Hour}})
	subscribe(t, e, s)
	deliver(t, e, []*core.Subscription{s}, "e1")
	id := "e1_" + s.ID()
	within(t, 10*time.Second, "a retry", func() bool { return len(list(t, e, engine.Filter{State: engine.Retrying})) == 1 })
	d, err := e.Delivery(t.Context(), "a", id)
	if pause := time.Until(d.Next); err != nil || d.State != engine.Retrying || pause < 45*time.Minute || pause > 75*time.Minute {
		t.Errorf("retry = %+v, %v", d, err)
	}
	if err := e.Discard(t.Context(), "a", id); core.CodeOf(err) != core.InvalidArgument {
		t.Errorf("Discard = %v", err)
	}
	up.Store(true)
	if err := e.Replay(t.Context(), "a", id); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "the delivery", func() bool { return to.delivered() == 1 })
	within(t, 10*time.Second, "nothing to be owed", func() bool { return e.Counters()["pending_now"] == 0 })
}

// Whoever replays all the time gets things twice at worst, and loses nothing.
func TestReplayRacesWithAttempts(t *testing.T) {
	var n atomic.Int64
	to := &endpoints{answer: func(*engine.Attempt) engine.Outcome {
		return engine.Outcome{Done: n.Add(1)%2 == 0, Err: errDown} // more failures would park it
	}}
	e := open(t, options(t.TempDir(), to))
	s := subscription("a", core.Endpoint{Retry: []time.Duration{time.Millisecond, time.Millisecond}})
	subscribe(t, e, s)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				for _, state := range []engine.State{engine.Retrying, engine.Failed} {
					some, _, _ := e.Deliveries(ctx, engine.Filter{State: state})
					for _, d := range some {
						switch err := e.Replay(ctx, "", d.ID); core.CodeOf(err) {
						case "", core.NotFound, core.AlreadyExists:
						default:
							if ctx.Err() == nil {
								t.Error(err)
							}
						}
					}
				}
			}
		})
	}
	for i := range 10 {
		deliver(t, e, []*core.Subscription{s}, ids(fmt.Sprintf("e%d", i), 30)...)
	}
	within(t, time.Minute, "300 deliveries", func() bool { return to.delivered() == 300 })
	stop()
	wg.Wait()
	within(t, 30*time.Second, "nothing to be owed", func() bool {
		_, _ = e.ReplayAll(t.Context(), engine.Filter{})
		return e.Counters()["pending_now"] == 0 && len(list(t, e, engine.Filter{State: engine.Failed})) == 0
	})
}
