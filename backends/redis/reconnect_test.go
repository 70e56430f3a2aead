package redis_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/anybridge/anybridge/backends/redis/redistest"
	"github.com/anybridge/anybridge/core"
)

func TestKilledAndBack(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL())
	exact, prefix := subscribe(t, b, "orders", core.Exact), subscribe(t, b, "or", core.Prefix)
	s.CLI("PUBLISH", "orders", "before")
	wantArgs(t, take(t, exact, 1)[0], "orders", `["before"]`)
	killed := time.Now()
	s.Kill()
	redistest.Eventually(t, "publishing fails at once", func() bool {
		start := time.Now()
		err := b.Publish(patient(t), event("orders", `[1]`))
		if core.CodeOf(err) != core.Unavailable || core.AsError(err).RetryAfter <= 0 {
			t.Fatalf("got %v", err)
		}
		return time.Since(start) < 100*time.Millisecond
	})
	waitState(t, b, core.Connecting)
	_, err := b.Subscribe(patient(t), core.Pattern{Address: topic("other"), Match: core.Exact})
	wantCode(t, err, core.Unavailable)
	s.Start()
	waitState(t, b, core.Up)
	redistest.Eventually(t, "both are subscribed again", func() bool { return s.CLI("PUBLISH", "orders", "after") == "2" })
	for _, in := range []core.Stream[*core.Event]{exact, prefix} {
		g := takeGap(t, in)
		if g.Since.After(killed.Add(time.Second)) || g.Until.Before(killed) || g.Reason == "" {
			t.Errorf("killed at %v, got gap %+v", killed, g)
		}
	}
	publish(t, b, event("orders", `["own"]`))
	s.CLI("PUBLISH", "orders", "last")
	for _, in := range []core.Stream[*core.Event]{exact, prefix} {
		for last := ""; last != `["last"]`; {
			for _, e := range take(t, in, 1) {
				if last = string(e.Args); last == `["own"]` {
					t.Error("own message came back")
				}
			}
		}
	}
}

// A server that is there and silent is noticed by pings.
func TestFrozen(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL())
	in := subscribe(t, b, "orders", core.Exact)
	s.Stop()
	waitState(t, b, core.Connecting)
	redistest.Eventually(t, "both connections are given up", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := b.Subscribe(ctx, core.Pattern{Address: topic("other"), Match: core.Exact})
		return core.CodeOf(err) == core.Unavailable
	})
	s.Continue()
	waitState(t, b, core.Up)
	takeGap(t, in)
	redistest.Eventually(t, "subscribed again", func() bool { return s.CLI("PUBLISH", "orders", "x") == "1" })
}

func TestNotThereYet(t *testing.T) {
	t.Parallel()
	s := redistest.Prepare(t)
	start := time.Now()
	b := open(t, s.URL())
	if d := time.Since(start); d > 8*time.Second {
		t.Errorf("Open took %v", d)
	}
	wantCode(t, b.Publish(patient(t), event("a", `[]`)), core.Unavailable)
	s.Start()
	publish(t, b, event("a", `[]`))
}

// A subscription that nobody reads loses the newest events, and says how many.
func TestFullQueue(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(), settings{"max_queued_events": 10})
	in := subscribe(t, b, "orders", core.Exact)
	for range 25 {
		s.CLI("PUBLISH", "orders", "x")
	}
	redistest.Eventually(t, "15 are dropped", func() bool { return counter(t, b, "events_dropped") == 15 })
	if n := len(take(t, in, 10)); n != 10 {
		t.Errorf("got %d events", n)
	}
	if g := takeGap(t, in); g.Lost != 15 {
		t.Errorf("got %+v", g)
	}
}

func TestTooLongMessage(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(), settings{"max_message": 1000})
	in := subscribe(t, b, "orders", core.Exact)
	s.CLI("PUBLISH", "orders", strings.Repeat("x", 100_000))
	if g := takeGap(t, in); g.Lost != 1 {
		t.Errorf("got %+v", g)
	}
	s.CLI("PUBLISH", "orders", "end")
	wantArgs(t, take(t, in, 1)[0], "orders", `["end"]`)
}

// kill -9 under load: what Publish has accepted is what the server has executed.
func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL())
	other := open(t, s.URL())
	in := subscribe(t, other, "load", core.Exact)
	stop, accepted := make(chan struct{}), make(chan int)
	for range 16 {
		go func() {
			n := 0
			defer func() { accepted <- n }()
			for {
				select {
				case <-stop:
					return
				default:
				}
				if b.Publish(patient(t), event("load", `[1]`)) == nil {
					n++
				}
			}
		}()
	}
	take(t, in, 1000)
	s.Kill()
	time.Sleep(300 * time.Millisecond)
	s.Start()
	takeGap(t, in)
	take(t, in, 1000)
	close(stop)
	total := 0
	for range 16 {
		total += <-accepted
	}
	if total < 2000 {
		t.Errorf("%d were accepted", total)
	}
}
