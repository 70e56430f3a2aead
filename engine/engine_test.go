package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// endpoints are callbacks that a test scripts: answer decides each attempt.
type endpoints struct {
	answer func(a *engine.Attempt) engine.Outcome

	mu       sync.Mutex
	attempts []string // "id#number"
	at       []time.Time
	done     map[string]int // deliveries by ID
	order    []string       // of IDs that were delivered for the first time
	now, max int
}

func (s *endpoints) Send(_ context.Context, a *engine.Attempt) engine.Outcome {
	s.mu.Lock()
	s.attempts = append(s.attempts, fmt.Sprintf("%s#%d", a.ID, a.Number))
	s.at = append(s.at, time.Now())
	s.now++
	s.max = max(s.max, s.now)
	s.mu.Unlock()
	out := engine.Outcome{Done: true, Status: 200}
	if s.answer != nil {
		out = s.answer(a)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
	if out.Done {
		if s.done == nil {
			s.done = map[string]int{}
		}
		if s.done[a.ID]++; s.done[a.ID] == 1 {
			s.order = append(s.order, a.ID)
		}
	}
	return out
}

func (s *endpoints) delivered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.done)
}

func (s *endpoints) attempted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.attempts)
}

// options of an engine whose store is in dir.
func options(dir string, s engine.Sender) engine.Options {
	return engine.Options{
		Sender: s, Dir: dir,
		Call: func(context.Context, *core.Call) (*core.Result, error) { return &core.Result{}, nil },
		Gone: func(context.Context, *core.Subscription) {},
		Log:  slog.New(slog.DiscardHandler),
	}
}

func open(t *testing.T, o engine.Options) *engine.Engine {
	t.Helper()
	e := engine.New(o)
	if err := e.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(e) })
	return e
}

// closeNow closes without waiting for attempts.
func closeNow(e *engine.Engine) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = e.Close(ctx)
}

func subscription(owner string, ep core.Endpoint) *core.Subscription {
	ep.URL = "http://" + owner + ".test/"
	return &core.Subscription{Owner: owner, Pattern: core.Pattern{Address: core.Address{Backend: "wamp", Name: "t"}, Match: core.Exact}, Endpoint: ep}
}

func subscribe(t *testing.T, e *engine.Engine, subs ...*core.Subscription) {
	t.Helper()
	if err := e.Registry().Save(t.Context(), subs, nil); err != nil {
		t.Fatal(err)
	}
}

func event(id string) *core.Event {
	return &core.Event{ID: id, Topic: core.Address{Backend: "wamp", Name: "t"}, Payload: core.Payload{Args: []byte(`["` + id + `"]`)}, Time: time.Now()}
}

func deliver(t *testing.T, e *engine.Engine, to []*core.Subscription, ids ...string) {
	t.Helper()
	var owed []core.Owed
	for _, id := range ids {
		owed = append(owed, core.Owed{Event: event(id), ID: id, To: to})
	}
	if err := e.Deliver(t.Context(), owed); err != nil {
		t.Fatal(err)
	}
}

func ids(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%05d", prefix, i)
	}
	return out
}

// within waits until a condition holds.
func within(t *testing.T, d time.Duration, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", d, what)
		}
	}
}

var errDown = errors.New("connection refused")

func failing(*engine.Attempt) engine.Outcome { return engine.Outcome{Err: errDown} }

// place makes the options of an engine whose store is always the same.
type place func(s engine.Sender) engine.Options

// embedded is a place in a folder.
func embedded(t *testing.T) place {
	dir := t.TempDir()
	return func(s engine.Sender) engine.Options { return options(dir, s) }
}

// deliveryTests hold wherever the store is: TestCluster runs them as well.
var deliveryTests = map[string]func(t *testing.T, at place){
	"EventIsDeliveredToEverySubscription": eventIsDeliveredToEverySubscription,
	"RetriesKeepTheIDAndEndAsDeadLetter":  retriesKeepTheIDAndEndAsDeadLetter,
	"OrderedEndpointWaitsBehindAFailure":  orderedEndpointWaitsBehindAFailure,
	"OwedIsDeliveredAfterARestart":        owedIsDeliveredAfterARestart,
}

func TestDelivery(t *testing.T) {
	for name, test := range deliveryTests {
		t.Run(name, func(t *testing.T) { test(t, embedded(t)) })
	}
}

func eventIsDeliveredToEverySubscription(t *testing.T, at place) {
	to := &endpoints{}
	e := open(t, at(to))
	a, b := subscription("a", core.Endpoint{}), subscription("b", core.Endpoint{})
	subscribe(t, e, a, b)
	deliver(t, e, []*core.Subscription{a, b}, "e1")
	within(t, 10*time.Second, "two deliveries", func() bool { return to.delivered() == 2 })
	want := []string{"e1_" + a.ID() + "#1", "e1_" + b.ID() + "#1"}
	slices.Sort(want)
	slices.Sort(to.attempts)
	if !slices.Equal(to.attempts, want) {
		t.Errorf("attempts = %v, want %v", to.attempts, want)
	}
	within(t, 5*time.Second, "the health of a", func() bool {
		h := e.Health(a)
		return h.Delivered == 1 && h.Pending == 0 && h.LastStatus == 200
	})
}

func retriesKeepTheIDAndEndAsDeadLetter(t *testing.T, at place) {
	to := &endpoints{answer: func(*engine.Attempt) engine.Outcome {
		return engine.Outcome{Status: 500, Err: errDown, Answer: "oops", Latency: time.Millisecond}
	}}
	e := open(t, at(to))
	s := subscription("a", core.Endpoint{Retry: []time.Duration{50 * time.Millisecond, 100 * time.Millisecond}})
	subscribe(t, e, s)
	deliver(t, e, []*core.Subscription{s}, "e1")
	within(t, 10*time.Second, "a dead letter", func() bool { return e.Counters()["dead_letters"] == 1 })
	id := "e1_" + s.ID()
	if want := []string{id + "#1", id + "#2", id + "#3"}; !slices.Equal(to.attempts, want) {
		t.Fatalf("attempts = %v, want %v", to.attempts, want)
	}
	list, _, err := e.Deliveries(t.Context(), engine.Filter{Owner: "a", State: engine.Failed})
	if err != nil || len(list) != 1 {
		t.Fatalf("dead letters = %+v, %v", list, err)
	}
	d := list[0]
	if d.ID != id || d.Attempts != 3 || len(d.Tries) != 3 || d.Tries[0].Status != 500 || d.Tries[0].Answer != "oops" || d.Reason == "" {
		t.Errorf("dead letter = %+v", d)
	}
	to.mu.Lock()
	to.answer = nil
	to.mu.Unlock()
	if err := e.Replay(t.Context(), "b", id); core.CodeOf(err) != core.NotFound {
		t.Errorf("replay of somebody else's = %v", err)
	}
	if err := e.Replay(t.Context(), "a", id); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "the replayed delivery", func() bool { return to.delivered() == 1 })
	if list, _, _ := e.Deliveries(t.Context(), engine.Filter{State: engine.Failed}); len(list) != 0 {
		t.Errorf("dead letters after the replay = %+v", list)
	}
}

func orderedEndpointWaitsBehindAFailure(t *testing.T, at place) {
	var mu sync.Mutex
	failures := map[string]int{"e00001": 2, "e00030": 1}
	to := &endpoints{}
	to.answer = func(a *engine.Attempt) engine.Outcome {
		mu.Lock()
		defer mu.Unlock()
		if failures[a.Event.ID] > 0 {
			failures[a.Event.ID]--
			return engine.Outcome{Err: errDown}
		}
		return engine.Outcome{Done: true}
	}
	e := open(t, at(to))
	s := subscription("a", core.Endpoint{Ordered: true, Retry: []time.Duration{20 * time.Millisecond, 20 * time.Millisecond}})
	subscribe(t, e, s)
	deliver(t, e, []*core.Subscription{s}, ids("e", 50)...)
	within(t, 10*time.Second, "50 deliveries", func() bool { return to.delivered() == 50 })
	if !slices.IsSorted(to.order) {
		t.Errorf("order %v", to.order)
	}
	if to.max != 1 {
		t.Errorf("%d attempts at once, want 1", to.max)
	}
}

func owedIsDeliveredAfterARestart(t *testing.T, at place) {
	var down sync.Map
	down.Store("down", true)
	to := &endpoints{answer: func(*engine.Attempt) engine.Outcome {
		if _, is := down.Load("down"); is {
			return engine.Outcome{Err: errDown}
		}
		return engine.Outcome{Done: true}
	}}
	e := open(t, at(to))
	plain := subscription("plain", core.Endpoint{})
	ordered := subscription("ordered", core.Endpoint{Ordered: true})
	subscribe(t, e, plain, ordered)
	for i := range 20 {
		deliver(t, e, []*core.Subscription{plain, ordered}, ids(fmt.Sprintf("e%02d", i), 100)...)
	}
	within(t, 10*time.Second, "some attempts", func() bool { return to.attempted() > 5 })
	closeNow(e)
	down.Delete("down")
	e = open(t, at(to))
	if s := e.Registry().Subscription(plain.ID()); s == nil || s.Endpoint.URL != plain.Endpoint.URL {
		t.Fatalf("subscription after the restart = %+v", s)
	}
	within(t, 30*time.Second, "4000 deliveries", func() bool { return to.delivered() == 4000 })
	var order []string
	for _, id := range to.order {
		if id[len(id)-len(ordered.ID()):] == ordered.ID() {
			order = append(order, id)
		}
	}
	if !slices.IsSorted(order) {
		t.Error("the ordered endpoint got its events out of order")
	}
	for id, n := range to.done {
		if n > 1 {
			t.Errorf("%s was delivered %d times", id, n)
		}
	}
}
