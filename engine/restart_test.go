package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// TestNothingIsLostInManyRestarts closes the engine again and again without a
// moment's notice, while events come in and endpoints fail one time in five.
func TestNothingIsLostInManyRestarts(t *testing.T) {
	const rounds = 24
	dir := t.TempDir()
	to := &endpoints{answer: func(*engine.Attempt) engine.Outcome {
		if rand.IntN(5) == 0 {
			return engine.Outcome{Status: 500, Err: errDown}
		}
		return done
	}}
	often := slices.Repeat([]time.Duration{5 * time.Millisecond}, 100)
	plain := subscription("plain", core.Endpoint{Retry: often})
	ordered := subscription("ordered", core.Endpoint{Ordered: true, Retry: often})
	subs := []*core.Subscription{plain, ordered}
	var acknowledged []string // in order
	for round := range rounds {
		e := open(t, options(dir, to))
		if round == 0 {
			subscribe(t, e, subs...)
		}
		for batch := range 1 + rand.IntN(10) {
			some := ids(fmt.Sprintf("e%02d.%02d.", round, batch), 1+rand.IntN(40))
			deliver(t, e, subs, some...)
			acknowledged = append(acknowledged, some...)
		}
		within(t, 10*time.Second, "some more attempts", func() bool {
			return e.Counters()["attempts"] > int64(rand.IntN(300)) || e.Counters()["pending_now"] == 0
		})
		closeNow(e)
	}
	e := open(t, options(dir, to))
	within(t, 60*time.Second, "everything acknowledged to be delivered", func() bool { return to.delivered() == 2*len(acknowledged) })
	if got := to.orderOf(ordered); !slices.Equal(got, acknowledged) {
		t.Errorf("the ordered endpoint got its %d events out of order", len(got))
	}
	twice := 0
	for _, n := range to.done {
		twice += n - 1
	}
	t.Logf("%d deliveries, %d of them more than once", to.delivered(), twice)
	if limit := to.delivered() / 10; twice > limit {
		t.Errorf("%d deliveries were repeated, of %d", twice, to.delivered())
	}
	within(t, 10*time.Second, "nothing to be owed", func() bool { return e.Counters()["pending_now"] == 0 })
}

// A delivery whose attempt is under way is older than all that waits on the disk.
func TestOrderIsKeptWhenAnAttemptIsCutOff(t *testing.T) {
	dir := t.TempDir()
	hanging := senderFunc(hang)
	e := open(t, options(dir, hanging))
	s := subscription("a", core.Endpoint{Ordered: true})
	subscribe(t, e, s)
	var all []string
	for i := range 30 {
		some := ids(fmt.Sprintf("e%02d", i), 100)
		deliver(t, e, []*core.Subscription{s}, some...)
		all = append(all, some...)
	}
	within(t, 10*time.Second, "a backlog", func() bool {
		list, _, err := e.Deliveries(t.Context(), engine.Filter{State: engine.Waiting})
		return err == nil && len(list) > 0
	})
	closeNow(e)
	to := &endpoints{}
	e = open(t, options(dir, to))
	within(t, 20*time.Second, "everything to be delivered", func() bool { return to.delivered() == len(all) })
	if got := to.orderOf(s); !slices.Equal(got, all) {
		t.Errorf("out of order: the first is %s, want %s", got[0], all[0])
	}
	within(t, 10*time.Second, "nothing to be owed", func() bool { return e.Counters()["pending_now"] == 0 })
}

// A delivery that failed on our side comes before what waits on the disk.
func TestOrderIsKeptWhenAnAttemptFailsOnOurSide(t *testing.T) {
	first, goOn := make(chan struct{}), make(chan struct{})
	var once, fast sync.Once
	var mended atomic.Bool
	to := &endpoints{answer: func(*engine.Attempt) engine.Outcome {
		once.Do(func() { close(first); <-goOn })
		if !mended.Load() {
			fast.Do(func() { time.AfterFunc(1500*time.Millisecond, func() { mended.Store(true) }) })
			return engine.Outcome{Ours: true, Err: errDown}
		}
		return done
	}}
	e := open(t, options(t.TempDir(), to))
	s := subscription("a", core.Endpoint{Ordered: true})
	subscribe(t, e, s)
	deliver(t, e, []*core.Subscription{s}, "e")
	<-first
	all := []string{"e"}
	for i := range 200 { // more than a lane holds
		some := ids(fmt.Sprintf("f%03d", i), 100)
		deliver(t, e, []*core.Subscription{s}, some...)
		all = append(all, some...)
	}
	close(goOn)
	within(t, 60*time.Second, "everything to be delivered", func() bool { return to.delivered() == len(all) })
	if got := to.orderOf(s); !slices.Equal(got, all) {
		t.Errorf("out of order: %d is not %s", slices.Index(got, "e"), "first")
	}
}

func TestClosingAtAnyMoment(t *testing.T) {
	dir := t.TempDir()
	to := senderFunc(func(ctx context.Context, _ *engine.Attempt) engine.Outcome {
		select {
		case <-ctx.Done():
			return engine.Outcome{Ours: true, Err: ctx.Err()}
		case <-time.After(time.Duration(rand.IntN(5)) * time.Millisecond):
			return engine.Outcome{Done: rand.IntN(3) > 0, Err: errDown}
		}
	})
	s := subscription("a", core.Endpoint{Retry: slices.Repeat([]time.Duration{time.Millisecond}, 100)})
	for range 20 {
		e := open(t, options(dir, to))
		subscribe(t, e, s)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for n := range 1000 {
					id := core.NewID("e")
					err := e.Deliver(context.Background(), []core.Owed{{Event: event(id), ID: id, To: []*core.Subscription{s}}})
					if err != nil {
						if core.CodeOf(err) != core.Unavailable {
							t.Errorf("delivery %d: %v", n, err)
						}
						return
					}
					_, _ = e.StartCall(context.Background(), engine.AsyncCall{Owner: "a", Call: &core.Call{}, Timeout: time.Second, To: core.Endpoint{URL: "http://a.test/"}})
				}
			})
		}
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond) // any moment
		began := time.Now()
		closeNow(e)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("closing took %v", took)
		}
		wg.Wait()
	}
}

func TestClosingWaitsForAttempts(t *testing.T) {
	started, goOn := make(chan struct{}), make(chan struct{})
	to := &endpoints{answer: func(*engine.Attempt) engine.Outcome {
		close(started)
		<-goOn
		return done
	}}
	dir := t.TempDir()
	e := open(t, options(dir, to))
	s := subscription("a", core.Endpoint{})
	subscribe(t, e, s)
	deliver(t, e, []*core.Subscription{s}, "e1")
	<-started
	closed := make(chan error)
	go func() { closed <- e.Close(context.Background()) }()
	close(goOn)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	e = open(t, options(dir, to))
	within(t, 5*time.Second, "the lanes to be read", func() bool { return len(e.Status(t.Context()).Lanes) == 4 && e.Status(t.Context()).Lanes[0].Mine })
	if to.attempted() != 1 || e.Counters()["pending_now"] != 0 {
		t.Errorf("%d attempts, %d still owed", to.attempted(), e.Counters()["pending_now"])
	}
}

func TestClosingRightAfterOpening(t *testing.T) {
	dir := t.TempDir()
	e := open(t, options(dir, senderFunc(hang)))
	s := subscription("a", core.Endpoint{})
	subscribe(t, e, s)
	deliver(t, e, []*core.Subscription{s}, ids("e", 500)...)
	closeNow(e)
	for range 10 {
		e := open(t, options(dir, &endpoints{answer: failing}))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := e.Close(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
	to := &endpoints{}
	open(t, options(dir, to))
	within(t, 30*time.Second, "500 deliveries", func() bool { return to.delivered() == 500 })
}

func TestANewerStoreIsRefused(t *testing.T) {
	dir := t.TempDir()
	e := open(t, options(dir, &endpoints{}))
	closeNow(e)
	e.WriteVersion(t, 99)
	err := engine.New(options(dir, &endpoints{})).Open(t.Context())
	const want = "the data was written by a newer anybridge (format 99, this one knows 1): run that version, or choose another data_dir"
	if err == nil || err.Error() != want {
		t.Errorf("Open = %v\nwant %s", err, want)
	}
}
