package engine_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

func TestUnsubscribingDropsWhatIsOwed(t *testing.T) {
	to := &endpoints{answer: failing}
	e := open(t, options(t.TempDir(), to))
	leaving := subscription("leaving", core.Endpoint{Retry: slices.Repeat([]time.Duration{time.Millisecond, time.Hour}, 5)})
	subscribe(t, e, leaving)
	deliver(t, e, []*core.Subscription{leaving}, ids("e", 3000)...)
	within(t, 10*time.Second, "a backlog", func() bool { return e.Health(leaving).Parked && e.Counters()["spilled"] > 2900 })
	if err := e.Registry().Delete(t.Context(), []*core.Subscription{leaving}, nil); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "nothing to be owed", func() bool { return e.Counters()["pending_now"] == 0 })
	deliver(t, e, []*core.Subscription{leaving}, "late")
	within(t, 10*time.Second, "nothing to be owed", func() bool { c := e.Counters(); return c["pending_now"] == 0 && c["endpoints_now"] == 0 })
	for _, state := range []engine.State{engine.Waiting, engine.Retrying} {
		within(t, 10*time.Second, "nothing to be kept", func() bool { return len(list(t, e, engine.Filter{State: state})) == 0 })
	}
	// Who comes back begins anew.
	to.mu.Lock()
	to.answer = nil
	to.mu.Unlock()
	subscribe(t, e, leaving)
	deliver(t, e, []*core.Subscription{leaving}, "new")
	within(t, 10*time.Second, "the new delivery", func() bool { return to.delivered() > 0 })
	if got := to.orderOf(leaving); !slices.Equal(got, []string{"new"}) {
		t.Errorf("delivered %v", got)
	}
}

// Subscriptions come and go while they are owed things: what is delivered to those
// that stay is everything, and nothing of the others is left.
func TestComingAndGoing(t *testing.T) {
	dir := t.TempDir()
	to := &endpoints{}
	e := open(t, options(dir, to))
	stays := subscription("stays", core.Endpoint{})
	subscribe(t, e, stays)
	var others []*core.Subscription
	for n := range 8 {
		others = append(others, subscription(fmt.Sprintf("other%d", n), core.Endpoint{Ordered: n%2 == 0}))
	}
	var wg sync.WaitGroup
	for _, s := range others {
		wg.Go(func() {
			for range 20 {
				if err := e.Registry().Save(t.Context(), []*core.Subscription{s}, nil); err != nil {
					t.Error(err)
				}
				if err := e.Registry().Delete(t.Context(), []*core.Subscription{s}, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all := append([]*core.Subscription{stays}, others...)
	for n := range 50 {
		deliver(t, e, all, ids(fmt.Sprintf("e%02d", n), 20)...)
	}
	wg.Wait()
	within(t, 20*time.Second, "what is owed to the one that stays", func() bool { return len(to.orderOf(stays)) == 1000 })
	within(t, 10*time.Second, "nothing to be owed", func() bool {
		c := e.Counters()
		return c["pending_now"] == 0 && c["endpoints_now"] == 1 && c["attempts_now"] == 0
	})
}

func TestThousandsOfEndpoints(t *testing.T) {
	const endpointsCount, events = 3000, 5
	to := &endpoints{}
	e := open(t, options(t.TempDir(), to))
	var subs []*core.Subscription
	for n := range endpointsCount {
		subs = append(subs, subscription(fmt.Sprintf("app%d", n), core.Endpoint{Ordered: n%3 == 0}))
	}
	subscribe(t, e, subs...)
	deliver(t, e, subs, ids("e", events)...)
	within(t, 60*time.Second, "every delivery", func() bool { return to.delivered() == endpointsCount*events })
	for id, n := range to.done {
		if n != 1 {
			t.Fatalf("%s was delivered %d times", id, n)
		}
	}
	within(t, 10*time.Second, "nothing to be owed", func() bool { return e.Counters()["pending_now"] == 0 })
}

// An attempt that takes longer than the lane can wait for is written down on its
// own, and stays there until it ends.
func TestALongAttemptIsKeptSafe(t *testing.T) {
	t.Parallel() // it waits for more than ten seconds
	dir := t.TempDir()
	e := open(t, options(dir, senderFunc(hang)))
	subs := []*core.Subscription{subscription("a", core.Endpoint{}), subscription("b", core.Endpoint{}), subscription("c", core.Endpoint{Ordered: true})}
	subscribe(t, e, subs...)
	deliver(t, e, []*core.Subscription{subs[0], subs[2]}, "e1", "e2")
	time.Sleep(500 * time.Millisecond) // so that the lane is held up twice
	deliver(t, e, []*core.Subscription{subs[1]}, "e1", "e2")
	kept := func() int { return len(list(t, e, engine.Filter{State: engine.Retrying})) }
	within(t, 20*time.Second, "three attempts to be written down", func() bool { return kept() == 3 })
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if n := kept(); n < 3 {
			t.Fatalf("%d of them are still kept", n)
		}
	}
	closeNow(e)
	to := &endpoints{}
	e = open(t, options(dir, to))
	within(t, 10*time.Second, "all six deliveries", func() bool { return to.delivered() == 6 })
	within(t, 10*time.Second, "nothing to be owed", func() bool { return e.Counters()["pending_now"] == 0 })
	if got := to.orderOf(subs[2]); !slices.Equal(got, []string{"e1", "e2"}) {
		t.Errorf("the ordered one got %v", got)
	}
}
