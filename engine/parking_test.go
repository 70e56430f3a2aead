package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// troubles collects what Notify is told.
type troubles struct {
	mu   sync.Mutex
	told []engine.Trouble
}

func (l *troubles) notify(t engine.Trouble) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, t)
}

// kinds are the kinds of trouble, in order.
func (l *troubles) kinds() (kinds []engine.TroubleKind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.told {
		kinds = append(kinds, t.Kind)
	}
	return kinds
}

// orderOf is the order in which the events first reached an endpoint.
func (s *endpoints) orderOf(sub *core.Subscription) (order []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range s.order {
		if event, found := strings.CutSuffix(id, "_"+sub.ID()); found {
			order = append(order, event)
		}
	}
	return order
}

func TestFailingEndpointIsParkedAndFoundBack(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		t.Run(fmt.Sprintf("ordered=%v", ordered), func(t *testing.T) {
			t.Parallel() // it waits for a probe
			var up atomic.Bool
			to := &endpoints{answer: func(*engine.Attempt) engine.Outcome {
				if up.Load() {
					return done
				}
				return engine.Outcome{Status: 502, Err: errDown}
			}}
			var heard troubles
			o := options(t.TempDir(), to)
			o.Notify = heard.notify
			e := open(t, o)
			s := subscription("a", core.Endpoint{Ordered: ordered, Retry: slices.Repeat([]time.Duration{50 * time.Millisecond}, 20)})
			subscribe(t, e, s)
			deliver(t, e, []*core.Subscription{s}, ids("e", 100)...)
			within(t, 10*time.Second, "the endpoint to be parked", func() bool { return e.Health(s).Parked })
			deliver(t, e, []*core.Subscription{s}, ids("f", 3000)...)
			within(t, 10*time.Second, "all of it to wait on the disk", func() bool {
				c := e.Counters()
				return c["spilled"] >= 3090 && c["pending_now"] == 3100
			})
			if h := e.Health(s); h.Pending != 3100 || h.LastStatus != 502 || h.NextProbe.IsZero() || h.LastError == "" {
				t.Errorf("health = %+v", h)
			}
			tried := to.attempted()
			if tried > 30 {
				t.Errorf("%d attempts at an endpoint that never answered", tried)
			}
			up.Store(true)
			within(t, 30*time.Second, "everything to be delivered", func() bool { return to.delivered() == 3100 })
			if got, want := to.orderOf(s), slices.Concat(ids("e", 100), ids("f", 3000)); ordered && !slices.Equal(got, want) {
				t.Error("out of order")
			}
			within(t, 5*time.Second, "the notices", func() bool {
				return slices.Equal(heard.kinds(), []engine.TroubleKind{engine.Failing, engine.Recovered})
			})
			within(t, 5*time.Second, "an empty backlog", func() bool { h := e.Health(s); return h.Pending == 0 && !h.Parked })
		})
	}
}

// What a parked endpoint is owed does not stay in memory.
func TestParkedEndpointsHoldNoMemory(t *testing.T) {
	to := &endpoints{answer: failing}
	e := open(t, options(t.TempDir(), to))
	s := subscription("a", core.Endpoint{Retry: slices.Repeat([]time.Duration{time.Millisecond}, 20)})
	subscribe(t, e, s)
	deliver(t, e, []*core.Subscription{s}, ids("e", 10)...)
	within(t, 10*time.Second, "the endpoint to be parked", func() bool { return e.Health(s).Parked })
	const each, events = 100 << 10, 100
	for i := range events {
		large := event(fmt.Sprintf("large%d", i))
		large.Args = []byte(`["` + strings.Repeat("x", each) + `"]`)
		if err := e.Deliver(t.Context(), []core.Owed{{Event: large, ID: large.ID, To: []*core.Subscription{s}}}); err != nil {
			t.Fatal(err)
		}
	}
	within(t, 20*time.Second, "all of it to wait on the disk", func() bool { return e.Health(s).Pending >= events })
	within(t, 20*time.Second, "the memory to be given back", func() bool { return e.InMemory(s) == 0 })
}

func TestNoticesOfOneEndpointThatFailsForGood(t *testing.T) {
	t.Parallel() // it waits for probes
	to := &endpoints{answer: failing}
	var heard troubles
	o := options(t.TempDir(), to)
	o.Notify = heard.notify
	e := open(t, o)
	s := subscription("a", core.Endpoint{Retry: []time.Duration{time.Millisecond}})
	s.Endpoint.URL += "?secret=1"
	subscribe(t, e, s)
	for i := range 3 { // one after the other: the endpoint has nothing else to be probed with
		deliver(t, e, []*core.Subscription{s}, fmt.Sprintf("e%d", i))
		within(t, 30*time.Second, "a dead letter", func() bool { return e.Counters()["dead_letters"] == int64(i+1) })
	}
	within(t, 5*time.Second, "four notices", func() bool { return len(heard.kinds()) >= 4 })
	kinds := heard.kinds()
	slices.Sort(kinds)
	if want := []engine.TroubleKind{engine.DeadLetter, engine.DeadLetter, engine.DeadLetter, engine.Failing}; !slices.Equal(kinds, want) {
		t.Errorf("notices = %v, want %v", kinds, want)
	}
	for _, n := range heard.told {
		if n.Owner != "a" || n.Subscription != s.ID() || n.Pattern != s.Pattern || n.URL != "http://a.test/" || n.Reason == "" || n.At.IsZero() {
			t.Errorf("notice = %+v", n)
		}
		if (n.Kind == engine.DeadLetter) != (n.Delivery != "") {
			t.Errorf("notice of delivery %q: %s", n.Delivery, n.Kind)
		}
	}
}

// Trouble with telling of trouble is not told: it would feed itself.
func TestTroubleWithNoticesIsNotTold(t *testing.T) {
	t.Parallel() // it waits for a probe
	to := &endpoints{answer: failing}
	var heard troubles
	o := options(t.TempDir(), to)
	o.Notify = heard.notify
	e := open(t, o)
	s := subscription("a", core.Endpoint{Retry: []time.Duration{time.Millisecond}})
	s.Pattern = core.Pattern{Address: core.Address{Backend: "wamp", Name: engine.TroubleTopic}, Match: core.Prefix}
	subscribe(t, e, s)
	var owed []core.Owed
	for i := range 3 {
		notice := event(fmt.Sprintf("n%d", i))
		notice.Topic.Name = engine.TroubleTopic + string(engine.Failing)
		owed = append(owed, core.Owed{Event: notice, ID: notice.ID, To: []*core.Subscription{s}})
	}
	if err := e.Deliver(t.Context(), owed); err != nil {
		t.Fatal(err)
	}
	within(t, 30*time.Second, "three dead letters", func() bool { return e.Counters()["dead_letters"] == 3 })
	if kinds := heard.kinds(); len(kinds) != 0 {
		t.Errorf("notices = %v", kinds)
	}
}

// Whoever is slow to hear of trouble slows no delivery.
func TestSlowNotifyHoldsUpNothing(t *testing.T) {
	to := &endpoints{answer: failing}
	o := options(t.TempDir(), to)
	release := make(chan struct{})
	o.Notify = func(engine.Trouble) { <-release }
	e := open(t, o)
	s := subscription("a", core.Endpoint{Retry: []time.Duration{}, Concurrency: 100})
	subscribe(t, e, s)
	const n = 2000
	deliver(t, e, []*core.Subscription{s}, ids("e", n)...)
	within(t, 20*time.Second, "dead letters", func() bool { return e.Counters()["dead_letters"] == n })
	if dropped := e.Counters()["notices_dropped"]; dropped == 0 {
		t.Error("no notice was dropped: they pile up")
	}
	close(release)
}

func TestWaitingTooMuchDisables(t *testing.T) {
	t.Parallel()
	var up atomic.Bool
	to := &endpoints{answer: func(*engine.Attempt) engine.Outcome {
		if up.Load() {
			return done
		}
		return failing(nil)
	}}
	var heard troubles
	o := options(t.TempDir(), to)
	o.MaxWaiting, o.Notify = 64<<10, heard.notify
	e := open(t, o)
	s := subscription("a", core.Endpoint{Retry: slices.Repeat([]time.Duration{time.Millisecond}, 20)})
	subscribe(t, e, s)
	for i := range 40 {
		deliver(t, e, []*core.Subscription{s}, ids(fmt.Sprintf("e%02d", i), 100)...)
	}
	within(t, 20*time.Second, "the endpoint to be disabled", func() bool { return e.Health(s).Disabled != "" })
	within(t, 5*time.Second, "the notice", func() bool { return slices.Contains(heard.kinds(), engine.Disabled) })
	within(t, 10*time.Second, "what comes now to be dropped", func() bool {
		deliver(t, e, []*core.Subscription{s}, "late")
		return e.Counters()["dropped"] > 0
	})
	tried := to.attempted()
	up.Store(true)
	within(t, 5*time.Second, "the lane to be calm", func() bool { return e.Counters()["attempts_now"] == 0 })
	if n := to.attempted(); n != tried {
		t.Errorf("%d attempts at a disabled endpoint", n-tried)
	}
	again := *s
	again.Created = time.Now()
	subscribe(t, e, &again) // the app is back
	within(t, 20*time.Second, "what waited", func() bool { return e.Health(s).Pending == 0 && to.delivered() > 100 })
	deliver(t, e, []*core.Subscription{&again}, "new")
	within(t, 10*time.Second, "a new delivery", func() bool { return slices.Contains(to.orderOf(s), "new") })
}

func TestDisabledStaysDisabledAfterARestart(t *testing.T) {
	dir := t.TempDir()
	to := &endpoints{answer: failing}
	o := options(dir, to)
	o.MaxWaiting = 16 << 10
	e := open(t, o)
	s := subscription("a", core.Endpoint{Retry: slices.Repeat([]time.Duration{time.Millisecond}, 20)})
	subscribe(t, e, s)
	for i := range 20 {
		deliver(t, e, []*core.Subscription{s}, ids(fmt.Sprintf("e%02d", i), 100)...)
	}
	within(t, 20*time.Second, "the endpoint to be disabled", func() bool { return e.Health(s).Disabled != "" })
	if err := e.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	tried := to.attempted()
	e = open(t, o)
	within(t, 10*time.Second, "the endpoint to be disabled", func() bool { return e.Health(s).Disabled != "" })
	if n := to.attempted(); n != tried {
		t.Errorf("%d attempts at a disabled endpoint", n-tried)
	}
}
