package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// victimEnv holds the durability that runVictim is to have.
const victimEnv = "ANYBRIDGE_TEST_VICTIM"

// What a victim tells on its standard output, one line each, as soon as it is true:
//
//	saved ID      the subscription or registration is acknowledged
//	deleting ID   it is about to be removed: it may be there or not
//	deleted ID    its removal is acknowledged
//	event ID      so is the event "topic-producer-number"
//	call ID       so is the asynchronous call
//	done ID       a delivery was attempted, with success
func tell(what, id string) {
	if _, err := os.Stdout.WriteString(what + " " + id + "\n"); err != nil {
		os.Exit(1) // nobody listens
	}
}

// victimDir is the folder of the store: the first file after the standard ones.
const victimDir = "/proc/self/fd/3"

// The topics of a victim, and who is subscribed to each of them.
const (
	victimTopics    = 6
	victimProducers = 6
)

// The endpoints of a victim, by what they do.
const (
	steady  = "steady"  // answers
	orderly = "orderly" // is ordered, and refuses every tenth attempt
	picky   = "picky"   // refuses every other event for good: it becomes a dead letter
	down    = "down"    // never answers: what it is owed waits in its backlog
)

func victimSubscriptions(topic int) []*core.Subscription {
	of := func(kind string, ep core.Endpoint) *core.Subscription {
		ep.URL = "http://" + kind + ".test/"
		return &core.Subscription{Owner: kind, Pattern: victimPattern(topic), Endpoint: ep}
	}
	often := slices.Repeat([]time.Duration{20 * time.Millisecond}, 20)
	subs := []*core.Subscription{of(steady, core.Endpoint{})}
	switch topic % 3 {
	case 0:
		subs = append(subs, of(orderly, core.Endpoint{Ordered: true, Retry: often}))
	case 1:
		subs = append(subs, of(picky, core.Endpoint{Retry: often[:1]}))
	case 2:
		subs = append(subs, of(down, core.Endpoint{Retry: slices.Repeat([]time.Duration{500 * time.Millisecond}, 20)}))
	}
	return subs
}

func victimPattern(topic int) core.Pattern {
	return core.Pattern{Address: core.Address{Backend: "wamp", Name: fmt.Sprintf("topic%d", topic)}, Match: core.Exact}
}

// victimEndpoints are the endpoints of a victim.
type victimEndpoints struct{}

// Send implements engine.Sender.
func (victimEndpoints) Send(_ context.Context, a *engine.Attempt) engine.Outcome {
	refused := engine.Outcome{Status: 500, Err: errDown}
	if a.Subscription != nil {
		switch a.Subscription.Owner {
		case orderly:
			if rand.IntN(10) == 0 {
				return refused
			}
		case picky:
			if strings.HasSuffix(a.Event.ID, "1") {
				return refused
			}
		case down:
			return refused
		}
	}
	tell("done", a.ID)
	return engine.Outcome{Done: true, Status: 200}
}

// victim is an engine under load.
type victim struct {
	e     *engine.Engine
	run   string        // tells its work from that of victims before it
	pause time.Duration // the longest one between two events of a producer
}

// runVictim works until it is killed.
func runVictim(durability string) {
	o := options(victimDir, victimEndpoints{})
	o.Durability = engine.Durability(durability)
	o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	o.Call = func(context.Context, *core.Call) (*core.Result, error) {
		time.Sleep(rand.N(50 * time.Millisecond))
		return &core.Result{}, nil
	}
	// Under little load the store is empty now and then, and is purged.
	pauses := []time.Duration{4 * time.Millisecond, 16 * time.Millisecond, 256 * time.Millisecond}
	v := &victim{e: engine.New(o), run: core.NewID("run"), pause: pauses[rand.IntN(len(pauses))]}
	v.must(v.e.Open(context.Background()))
	for n := range victimTopics {
		for _, s := range victimSubscriptions(n) {
			v.must(v.e.Registry().Save(context.Background(), []*core.Subscription{s}, nil))
			tell("saved", s.ID())
		}
	}
	var wg sync.WaitGroup
	for p := range victimProducers {
		wg.Go(func() { v.produce(fmt.Sprintf("%s_p%d", v.run, p)) })
	}
	wg.Go(v.register)
	wg.Go(v.call)
	wg.Wait()
}

// must ends the victim when something fails: nothing may.
func (v *victim) must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "victim:", err)
		os.Exit(1)
	}
}

// produce delivers events to random topics. Some are large, so that files of the
// store fill up and new ones begin.
func (v *victim) produce(producer string) {
	large := []byte(`["` + strings.Repeat("x", 300_000) + `"]`)
	for n := 0; ; n++ {
		topic := rand.IntN(victimTopics)
		ev := event(victimEvent(topic, producer, n))
		ev.Topic = victimPattern(topic).Address
		if rand.IntN(50) == 0 {
			ev.Payload.Args = large
		}
		v.must(v.e.Deliver(context.Background(), []core.Owed{{Event: ev, ID: ev.ID, To: victimSubscriptions(topic)}}))
		tell("event", ev.ID)
		time.Sleep(rand.N(v.pause))
	}
}

func victimEvent(topic int, producer string, n int) string {
	return fmt.Sprintf("t%d-%s-%06d", topic, producer, n)
}

// register saves registrations, and deletes every other one.
func (v *victim) register() {
	for n := 0; ; n++ {
		g := []*core.Registration{{
			Owner: v.run, Pattern: core.Pattern{Address: core.Address{Backend: "wamp", Name: fmt.Sprintf("p%d", n)}, Match: core.Exact},
		}}
		v.must(v.e.Registry().Save(context.Background(), nil, g))
		tell("saved", g[0].ID())
		if n%2 == 1 {
			tell("deleting", g[0].ID())
			v.must(v.e.Registry().Delete(context.Background(), nil, g))
			tell("deleted", g[0].ID())
		}
		time.Sleep(rand.N(10 * time.Millisecond))
	}
}

// call makes asynchronous calls.
func (v *victim) call() {
	for n := 0; ; n++ {
		id, err := v.e.StartCall(context.Background(), engine.AsyncCall{
			ID: fmt.Sprintf("%s_call%d", v.run, n), Owner: steady, Timeout: time.Minute, To: core.Endpoint{URL: "http://" + steady + ".test/"},
			Call: &core.Call{Procedure: core.Address{Backend: "wamp", Name: "p"}},
		})
		v.must(err)
		tell("call", id)
		time.Sleep(rand.N(20 * time.Millisecond))
	}
}
