//go:build unix

package engine_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// TestCluster runs on three NATS servers.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	t.Run("Delivery", func(t *testing.T) {
		t.Parallel()
		for name, test := range deliveryTests {
			t.Run(name, func(t *testing.T) { test(t, c.place("d_"+name)) })
		}
	})
	t.Run("SameEvent", func(t *testing.T) { t.Parallel(); bridgesHearTheSameEvent(t, c) })
	t.Run("FreshSubscriptions", func(t *testing.T) { t.Parallel(); freshSubscriptions(t, c) })
	t.Run("LargeEvents", func(t *testing.T) { t.Parallel(); largeEvents(t, c) })
	t.Run("KilledBridge", func(t *testing.T) { t.Parallel(); killedBridge(t, c) })
	t.Run("FrozenBridge", func(t *testing.T) { t.Parallel(); frozenBridge(t, c) })
}

// Events that several bridges hear from one system are delivered once.
func bridgesHearTheSameEvent(t *testing.T, c *cluster) {
	to := &endpoints{}
	at := c.place("same")
	a, b := open(t, at(to)), open(t, at(to))
	s := subscription("a", core.Endpoint{})
	subscribe(t, a, s)
	within(t, 10*time.Second, "the other bridge knows the subscription", func() bool { return b.Registry().Subscription(s.ID()) != nil })
	for _, id := range ids("e", 50) {
		deliver(t, a, []*core.Subscription{s}, id)
		deliver(t, b, []*core.Subscription{s}, id)
	}
	deliver(t, b, []*core.Subscription{s}, "last")
	within(t, 20*time.Second, "51 deliveries", func() bool { return to.delivered() == 51 })
	within(t, 10*time.Second, "50 repetitions", func() bool { return a.Counters()["repeated"]+b.Counters()["repeated"] == 50 })
	if to.attempted() != 51 {
		t.Errorf("%d attempts, want 51", to.attempted())
	}
}

// Who has just subscribed is delivered to, although the bridge that does so may not
// have heard of it yet.
func freshSubscriptions(t *testing.T, c *cluster) {
	to := &endpoints{}
	at := c.place("fresh")
	a, b := open(t, at(to)), open(t, at(to))
	within(t, 20*time.Second, "each bridge has its share", func() bool { return lanesOf(a) == 2 && lanesOf(b) == 2 })
	for i := range 40 {
		s := subscription("a", core.Endpoint{})
		s.Pattern = topicPattern(fmt.Sprintf("fresh%d", i))
		subscribe(t, a, s)
		deliver(t, a, []*core.Subscription{s}, fmt.Sprintf("first%d", i))
		within(t, 10*time.Second, "the first delivery", func() bool { return to.delivered() == 2*i+1 })
		if err := a.Registry().Delete(t.Context(), []*core.Subscription{s}, nil); err != nil {
			t.Fatal(err)
		}
		subscribe(t, a, s)
		deliver(t, a, []*core.Subscription{s}, fmt.Sprintf("second%d", i))
		within(t, 10*time.Second, "the second delivery", func() bool { return to.delivered() == 2*i+2 })
	}
}

// What a server of somebody else takes in one message is less than our own would:
// events that fit are delivered however many there are, others are refused.
func largeEvents(t *testing.T, c *cluster) {
	to := &endpoints{answer: func(a *engine.Attempt) engine.Outcome {
		if a.Number == 1 && len(a.Event.Args) > 800_000 {
			return engine.Outcome{Err: errDown}
		}
		return engine.Outcome{Done: true}
	}}
	e := open(t, c.place("large")(to))
	s := subscription("a", core.Endpoint{Retry: []time.Duration{time.Millisecond}})
	subscribe(t, e, s)
	var owed []core.Owed
	for i, id := range ids("e", 8) {
		ev := event(id)
		ev.Payload.Args = []byte(`["` + strings.Repeat("x", 100_000*(i+2)) + `"]`)
		owed = append(owed, core.Owed{Event: ev, ID: id, To: []*core.Subscription{s}})
	}
	if err := e.Deliver(t.Context(), owed); err != nil {
		t.Fatal(err)
	}
	within(t, 20*time.Second, "8 deliveries", func() bool { return to.delivered() == 8 })
	ev := event("huge")
	ev.Payload.Args = []byte(`["` + strings.Repeat("x", 1<<20) + `"]`)
	err := e.Deliver(t.Context(), []core.Owed{{Event: ev, ID: "huge", To: []*core.Subscription{s}}})
	if core.CodeOf(err) != core.TooLarge {
		t.Errorf("an event of 1 MiB: %v, want %s", err, core.TooLarge)
	}
}

// topics are on all lanes.
func topics(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("topic%d", i))
	}
	return names
}

// What a bridge owed when it was killed is delivered by another one.
func killedBridge(t *testing.T, c *cluster) {
	all := newRecord()
	conf := bridgeConfig{URL: c.url, Name: "killed"}
	a := startBridge(t, conf, all)
	b := startBridge(t, conf, all)
	names := topics(8)
	for _, topic := range names {
		a.do("subscribe " + topic)
	}
	a.hears("subscribed "+names[7], 10*time.Second)
	b.answers("bindings", "16", 10*time.Second)
	a.answers("lanes", "2", 20*time.Second)
	b.answers("lanes", "2", 20*time.Second)
	a.do("hold")
	b.do("hold")
	a.hears("held", 10*time.Second)
	b.hears("held", 10*time.Second)
	for _, topic := range names {
		a.do("publish " + topic + " a 25")
		b.do("publish " + topic + " b 25")
	}
	for i := range 5 {
		a.do(fmt.Sprintf("call call%d", i))
	}
	within(t, 20*time.Second, "400 events", func() bool { return all.events() == 400 })
	for i := range 5 {
		a.hears(fmt.Sprintf("call call%d", i), 10*time.Second)
	}
	killed := time.Now()
	a.kill()
	b.do("go")
	within(t, 20*time.Second, "all that was owed", func() bool { return len(all.missing()) == 0 })
	took := time.Since(killed)
	for i := range 5 {
		b.hears(fmt.Sprintf("result call%d %s", i, core.Unavailable), 20*time.Second)
	}
	b.answers("lanes", "4", 10*time.Second)
	made, again := all.check(t)
	t.Logf("%d deliveries, %d of them repeated; all within %v of the kill, outcomes of calls within %v", made, again, took, time.Since(killed))
}

// A bridge that stands still for a while, and goes on, breaks nothing.
func frozenBridge(t *testing.T, c *cluster) {
	all := newRecord()
	conf := bridgeConfig{URL: c.url, Name: "frozen"}
	a := startBridge(t, conf, all)
	for _, topic := range topics(8) {
		a.do("subscribe " + topic)
	}
	a.hears("subscribed topic7", 10*time.Second)
	a.answers("lanes", "4", 20*time.Second)
	b := startBridge(t, conf, all)
	a.answers("lanes", "2", 20*time.Second)
	b.answers("lanes", "2", 20*time.Second)
	for _, topic := range topics(8) {
		a.do("publish " + topic + " a 500")
	}
	within(t, 20*time.Second, "some events", func() bool { return all.events() > 100 })
	if err := b.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	a.answers("lanes", "4", 20*time.Second)
	took := time.Since(stopped)
	within(t, 20*time.Second, "ten seconds have passed", func() bool { return time.Since(stopped) > 10*time.Second })
	if err := b.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	a.hears("published a", 30*time.Second)
	within(t, 20*time.Second, "4000 events", func() bool { return all.events() == 4000 })
	within(t, 30*time.Second, "all that was owed", func() bool { return len(all.missing()) == 0 })
	a.answers("lanes", "2", 20*time.Second)
	b.answers("lanes", "2", 20*time.Second)
	// Who leaves leaves nothing behind that others wait for.
	left := time.Now()
	b.do("close")
	b.hears("closed", 10*time.Second)
	a.answers("lanes", "4", 5*time.Second)
	made, again := all.check(t)
	t.Logf("%d deliveries, %d of them repeated; taken over after %v, after a goodbye %v", made, again, took, time.Since(left))
}

// TestKilledNodes shows that nodes which die under load lose nothing, and come back.
func TestKilledNodes(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	all := newRecord()
	at := c.place("nodes")
	var engines []*engine.Engine
	for range 2 {
		engines = append(engines, open(t, at(&flaky{tell: all.tell})))
	}
	names := topics(4)
	for _, topic := range names {
		subscribe(t, engines[0], bridgeSubscriptions(topic)...)
	}
	within(t, 10*time.Second, "the other bridge knows the subscriptions", func() bool {
		subs, _, _ := engines[1].Bindings()
		return len(subs) == 8
	})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for i, e := range engines {
		for _, topic := range names {
			wg.Go(func() {
				publish(ctx, e, topic, fmt.Sprintf("p%d", i), 1<<30, 40*time.Millisecond, func(id string) { all.tell("event", id) })
			})
		}
	}
	grows := func(what string) {
		t.Helper()
		before := all.producers()
		within(t, 30*time.Second, what, func() bool {
			for p, n := range all.producers() {
				if n < before[p]+10 {
					return false
				}
			}
			return len(all.producers()) == 8
		})
	}
	grows("events are published")
	for _, who := range []string{"the leader", "a follower"} {
		var victim *natsNode
		within(t, 30*time.Second, "all nodes have everything", func() bool {
			leader, current := c.peers(t, "NODES_LANE_0")
			if leader == nil || len(current) != 2 {
				return false
			}
			victim = leader
			if who != "the leader" {
				victim = current[0]
			}
			return true
		})
		killed := time.Now()
		victim.kill()
		grows("events are published without " + who)
		took := time.Since(killed)
		if who != "the leader" {
			third := open(t, at(&flaky{tell: all.tell})) // starts although a node is down
			grows("events are published, with another bridge")
			closeNow(third)
		}
		victim.start(t)
		t.Logf("%s was killed: every producer has published 10 more events after %v", who, took)
	}
	within(t, 30*time.Second, "all nodes have everything again", func() bool {
		leader, current := c.peers(t, "NODES_LANE_0")
		return leader != nil && len(current) == 2
	})
	stop()
	wg.Wait()
	// A second or two; on a machine so busy that the nodes elect leaders again and
	// again, the lanes wait for that.
	within(t, 2*time.Minute, "all that was owed", func() bool { return len(all.missing()) == 0 })
	made, again := all.check(t)
	t.Logf("%d events, %d deliveries, %d of them repeated", all.events(), made, again)
}
