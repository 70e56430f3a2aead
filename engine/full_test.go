package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// TestAFullStoreRefusesBeforeItLoses fills a small store with what is owed to an
// endpoint that is down: publishers are refused while there is still room for what
// has been taken, and are let in again when it has been delivered.
func TestAFullStoreRefusesBeforeItLoses(t *testing.T) {
	t.Parallel() // it waits for a probe
	const each = 20 << 10
	var up atomic.Bool
	to := &endpoints{answer: func(a *engine.Attempt) engine.Outcome {
		if up.Load() || a.Subscription.Owner == "healthy" {
			return done
		}
		return failing(nil)
	}}
	o := options(t.TempDir(), to)
	o.MaxBytes, o.MaxWaiting = 8<<20, 1<<30
	e := open(t, o)
	down := subscription("down", core.Endpoint{Retry: slices.Repeat([]time.Duration{10 * time.Millisecond}, 50)})
	healthy := subscription("healthy", core.Endpoint{})
	subscribe(t, e, down, healthy)
	large := func(id string) *core.Event {
		x := event(id)
		x.Args = []byte(`["` + strings.Repeat("x", each) + `"]`)
		return x
	}
	publish := func(id string, to ...*core.Subscription) error {
		if err := e.Room(); err != nil {
			return err
		}
		return e.Deliver(t.Context(), []core.Owed{{Event: large(id), ID: id, To: to}})
	}
	taken := 0
	var refused error
	for n := 0; refused == nil && n < 10_000; n++ {
		if refused = publish(fmt.Sprintf("e%05d", n), down); refused == nil {
			taken++
		}
	}
	if core.CodeOf(refused) != core.TooMany || core.AsError(refused).RetryAfter == 0 || !strings.Contains(refused.Error(), "max_bytes") {
		t.Fatalf("after %d events: %v", taken, refused)
	}
	if taken < 100 {
		t.Errorf("refused after %d events of %d bytes", taken, each)
	}
	// Events of others come in until nothing but the last reserve is left.
	for n := range 100 {
		id := fmt.Sprintf("f%05d", n)
		err := e.Deliver(t.Context(), []core.Owed{{Event: large(id), ID: id, To: []*core.Subscription{down}}})
		if err != nil {
			if core.CodeOf(err) != core.TooMany {
				t.Errorf("an event of others: %v", err)
			}
			break
		}
		taken++
	}
	within(t, 20*time.Second, "the endpoint to be parked, and nothing under way", func() bool {
		return e.Health(down).Parked && e.Counters()["attempts_now"] == 0 && e.InMemory(down) == 0
	})
	const last = 64 << 10 // the server compares before it writes
	if used, limit := e.Counters()["stored_bytes_now"], o.MaxBytes; used > limit+last {
		t.Errorf("%d bytes are stored, of %d", used, limit)
	}
	// What is being moved to the backlog is there twice for a moment, which takes the
	// reserve of a store as small as this one.
	within(t, 10*time.Second, "a subscription on a full store", func() bool {
		return e.Registry().Save(t.Context(), []*core.Subscription{subscription("new", core.Endpoint{})}, nil) == nil
	})
	up.Store(true)
	within(t, 60*time.Second, "what was taken to be delivered", func() bool { return to.delivered() == taken })
	within(t, 20*time.Second, "room for more", func() bool { return e.Room() == nil })
	if err := publish("last", down, healthy); err != nil {
		t.Error(err)
	}
	within(t, 10*time.Second, "the last ones", func() bool { return to.delivered() == taken+2 })
}

// Dead letters can still be written when publishers are refused.
func TestAFullStoreTakesDeadLetters(t *testing.T) {
	t.Parallel()
	to := &endpoints{answer: failing}
	o := options(t.TempDir(), to)
	o.MaxBytes, o.MaxWaiting = 8<<20, 1<<30
	e := open(t, o)
	s := subscription("a", core.Endpoint{Retry: []time.Duration{}, Concurrency: 4})
	subscribe(t, e, s)
	taken := int64(0)
	for {
		x := event(fmt.Sprintf("e%05d", taken))
		x.Args = []byte(`["` + strings.Repeat("x", 20<<10) + `"]`)
		if err := e.Room(); err != nil {
			break
		}
		if err := e.Deliver(t.Context(), []core.Owed{{Event: x, ID: x.ID, To: []*core.Subscription{s}}}); err != nil {
			break
		}
		taken++
	}
	within(t, 30*time.Second, "all of it to be dead", func() bool { return e.Counters()["dead_letters"] == taken })
	if err := e.Discard(t.Context(), "a", "e00000_"+s.ID()); err != nil {
		t.Error(err)
	}
}
