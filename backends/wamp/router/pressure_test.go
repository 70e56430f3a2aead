package router

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gammazero/nexus/v3/wamp"
)

const queue = 16384

// waited runs wait and reports how long it takes; meanwhile runs while it is blocked.
func waited(t *testing.T, p *pressure, done, cancel <-chan struct{}, meanwhile func()) time.Duration {
	t.Helper()
	begin := time.Now()
	over := make(chan struct{})
	go func() {
		defer close(over)
		p.wait(done, cancel)
	}()
	synctest.Wait()
	meanwhile()
	<-over
	return time.Since(begin)
}

func TestPressureHoldsPublishers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pressure
		nothing := func() {}
		if d := waited(t, &p, nil, nil, nothing); d != 0 {
			t.Errorf("without pressure: %v", d)
		}
		var s strain
		s.changed(&p, highMark-1, queue)
		if p.high() {
			t.Error("pressure below the mark")
		}
		s.changed(&p, highMark, queue)
		s.changed(&p, highMark+1, queue)
		if d := waited(t, &p, nil, nil, nothing); d != maxHold {
			t.Errorf("under pressure: %v, want %v", d, maxHold)
		}
		s.changed(&p, lowMark+1, queue)
		if d := waited(t, &p, nil, nil, func() { s.changed(&p, lowMark, queue) }); d != 0 {
			t.Errorf("until it is over: %v", d)
		}
		s.changed(&p, highMark, queue)
		for range 2 { // the session ends, or the publisher gives up
			gone := make(chan struct{})
			if d := waited(t, &p, gone, gone, func() { close(gone) }); d != 0 {
				t.Errorf("until one side is gone: %v", d)
			}
		}
	})
}

// A few slow subscribers among many do not count.
func TestPressureIsOfTheCrowd(t *testing.T) {
	var p pressure
	var a, b strain
	p.active.Store(2*crowd - 1)
	a.changed(&p, highMark, queue)
	if p.high() {
		t.Error("one of many made pressure")
	}
	b.changed(&p, highMark, queue)
	if !p.high() {
		t.Error("two of many made none")
	}
	a.changed(&p, 0, queue)
	b.changed(&p, 0, queue)
	if n := p.over.Load(); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// Who takes nothing does not count either, until it has caught up.
func TestPressureOfAStuckSubscriber(t *testing.T) {
	var p pressure
	var s strain
	s.changed(&p, highMark, queue)
	if !s.watch(&p, 100) || !p.high() {
		t.Error("it makes progress")
	}
	if !s.watch(&p, 101) || p.high() {
		t.Error("it makes next to none")
	}
	s.changed(&p, highMark+1, queue)
	if s.watch(&p, 101) || p.high() {
		t.Error("it is stuck")
	}
	s.changed(&p, 0, queue)
	s.changed(&p, highMark, queue)
	if !p.high() {
		t.Error("it had caught up")
	}
	s.changed(&p, 0, queue)
	if n := p.over.Load(); n != 0 {
		t.Errorf("%d are left", n)
	}
}

func TestSendWaitsUnderPressure(t *testing.T) {
	r := newRouter(t, Config{})
	l := attach(t, r)
	l.s.realm.pressure.change(1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Send(ctx, &wamp.Publish{Request: 1, Topic: "com.topic"}); !errors.Is(err, context.Canceled) {
		t.Errorf("under pressure: %v", err)
	}
	l.s.realm.pressure.change(-1)
	send(t, l, &wamp.Publish{Request: 1, Topic: "com.topic"})
}
