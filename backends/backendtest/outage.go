package backendtest

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins"
)

// outage is what a publisher saw while the server was away.
type outage struct {
	mu       sync.Mutex
	accepted []int // payloads that Publish accepted
	refused  []int // that it refused as Unavailable while the backend knew the server to be away
	wrong    error
	slowest  time.Duration
}

// publishing publishes payload after payload until stop is closed.
func (s *suite) publishing(topic string, first int, stop <-chan struct{}) (*outage, *sync.WaitGroup) {
	o := &outage{}
	wg := &sync.WaitGroup{}
	pause := 5 * time.Millisecond
	if s.Events < 1000 { // the system limits floods
		pause = 200 * time.Millisecond
	}
	wg.Go(func() {
		for i := first; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(pause):
			}
			away := s.away()
			before := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
			err := s.a.Publish(ctx, &core.Event{ID: core.NewID("evt"), Topic: address(topic), Payload: s.payload(i)})
			cancel()
			o.mu.Lock()
			o.slowest = max(o.slowest, time.Since(before))
			switch core.CodeOf(err) {
			case "":
				o.accepted = append(o.accepted, i)
			case core.Unavailable, core.TooMany:
				if away {
					o.refused = append(o.refused, i)
				}
			default:
				o.wrong = err
			}
			o.mu.Unlock()
		}
	})
	return o, wg
}

// away reports whether the backend a knows that it has no connection.
func (s *suite) away() bool {
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	st, err := s.a.Status(ctx)
	return err == nil && st.State != core.Up
}

// testServerKilled: the server is killed under load and comes back. Streams stay open,
// subscriptions and registrations work again, and whoever asks meanwhile gets an
// answer. Events that are missing are told as a Gap.
func (s *suite) testServerKilled(t *testing.T) {
	hasEvents, hasCalls := pubsub(s) == "", rpc(s) == ""
	topic, control := s.topic(), s.topic()
	var in, calm *inbox
	var load *outage
	var wg *sync.WaitGroup
	stop := make(chan struct{})
	if hasEvents {
		in = s.subscribe(t, s.b, exact(topic))
		calm = s.subscribe(t, s.b, exact(control))
		load, wg = s.publishing(topic, 1000, stop)
		in.wait(t, 3)
	}
	var procedure string
	var pendingCall <-chan error
	if hasCalls {
		procedure = s.procedure()
		s.serve(t, s.b, exact(procedure), core.RegisterOptions{}, echo)
		slow, invocations := s.pending(t, s.b)
		forever, cancel := context.WithCancel(context.Background())
		defer cancel()
		pendingCall = s.start(forever, s.a, slow)
		receive(s, t, "the invocation", invocations)
	}

	s.Kill(t)
	for _, b := range []core.Backend{s.a, s.b} {
		s.eventually(t, func() bool { return s.status(t, b).State != core.Up }, func() string { return "Status says up although the server is dead" })
		if st := s.status(t, b); st.Reason == "" && st.State != core.Up {
			t.Errorf("Status says %q and no reason", st.State)
		}
	}
	if hasEvents {
		s.atOnce(t, "Publish", s.a.Publish(s.patient(t), &core.Event{ID: "evt_1", Topic: address(control), Payload: s.payload(1)}))
	}
	if hasCalls {
		_, err := s.a.Call(s.patient(t), &core.Call{Procedure: address(procedure), Payload: s.payload(1)})
		s.atOnce(t, "Call", err)
		if err := receive(s, t, "the call that was in flight", pendingCall); err == nil {
			t.Error("a call that nobody answered has a result")
		}
	}
	// A subscription that is closed meanwhile stays closed, a request with a deadline ends.
	if hasEvents {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		s.returns(t, "Subscribe without a server", func() {
			if stream, err := s.b.Subscribe(ctx, exact(s.topic())); err == nil {
				s.closeStream(t, stream.Close)
			} else if bad := oneOf(err, core.Unavailable, core.Timeout); bad != nil {
				t.Errorf("Subscribe without a server: %v", bad)
			}
		})
		cancel()
	}
	time.Sleep(500 * time.Millisecond)

	s.Start(t)
	s.up(t, s.a)
	s.up(t, s.b)
	if hasCalls {
		s.callsAgain(t, procedure)
	}
	if !hasEvents {
		return
	}
	n := 0
	s.eventually(t, func() bool { // until b has subscribed again
		n++
		_ = s.publish(s.a, control, s.payload(n))
		return len(calm.all()) > 0 || calm.ended() != nil
	}, func() string { return "no event comes any more" })
	s.seen(t, in)
	close(stop)
	wg.Wait()
	s.mustPublish(t, s.a, topic, s.payload(1))
	in.waitFor(t, s.payload(1))
	load.check(t, s, in)
}

// atOnce checks the answer while the server is away.
func (s *suite) atOnce(t testing.TB, what string, err error) {
	t.Helper()
	if core.CodeOf(err) != core.Unavailable {
		t.Errorf("%s without a server: got %v (%s), want %s", what, err, core.CodeOf(err), core.Unavailable)
	}
}

// seen waits until the stream goes on.
func (s *suite) seen(t testing.TB, in *inbox) {
	t.Helper()
	before := len(in.all())
	s.eventually(t, func() bool { return len(in.all()) > before+2 || in.ended() != nil }, func() string { return "the events do not go on" })
	if err := in.ended(); err != nil {
		t.Fatalf("the stream ended with the connection: %v", err)
	}
}

// callsAgain waits until a procedure works as before.
func (s *suite) callsAgain(t testing.TB, procedure string) {
	t.Helper()
	var last error
	s.eventually(t, func() bool {
		_, last = s.call(s.a, procedure, s.payload(1))
		if bad := oneOf(last, "", core.Unavailable, core.NoSuchProcedure, core.Timeout); bad != nil {
			t.Fatalf("Call after the outage: %v", bad)
		}
		return last == nil
	}, func() string { return fmt.Sprintf("the procedure does not work any more: %v", last) })
}

// check compares what was published with what came.
func (o *outage) check(t testing.TB, s *suite, in *inbox) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.wrong != nil {
		t.Errorf("Publish during the outage: %v (%s)", o.wrong, core.CodeOf(o.wrong))
	}
	if o.slowest > s.Patience/2 {
		t.Errorf("a Publish took %s", o.slowest)
	}
	times := map[string]int{}
	for _, e := range in.all() {
		times[s.canonical(e.Payload)]++
	}
	missing := 0
	for _, i := range o.accepted {
		switch times[s.canonical(s.payload(i))] {
		case 0:
			missing++
		case 1:
		default:
			t.Errorf("event %d came more than once", i)
		}
	}
	in.mu.Lock()
	gaps := slices.Clone(in.gaps)
	in.mu.Unlock()
	if missing > 0 && len(gaps) == 0 && !s.LosesSilently {
		t.Errorf("%d of %d accepted events are missing, and no Gap says so", missing, len(o.accepted))
	}
	for _, g := range gaps {
		if g.Since.IsZero() || g.Until.Before(g.Since) || g.Reason == "" {
			t.Errorf("a gap without its place or reason: %+v", g)
		}
	}
	for _, i := range o.refused {
		if times[s.canonical(s.payload(i))] > 0 {
			t.Errorf("event %d was refused as unavailable, and came nevertheless", i)
		}
	}
	t.Logf("%d events accepted, %d refused, %d missing, %d gaps", len(o.accepted), len(o.refused), missing, len(gaps))
}

// testOpenedWithoutServer: a system that is not there yet is no mistake in the
// configuration.
func (s *suite) testOpenedWithoutServer(t *testing.T) {
	s.Kill(t)
	back := false
	defer func() {
		if !back {
			s.Start(t)
		}
	}()
	before := time.Now()
	b, _ := s.openOnly(t, s.Config(t))
	if d := time.Since(before); d > s.Patience/2 {
		t.Errorf("Open took %s without a server", d)
	}
	if st := s.status(t, b); st.State == core.Up || st.Reason == "" {
		t.Errorf("Status without a server is %q, %q", st.State, st.Reason)
	}
	if s.info.Can.Publish {
		s.atOnce(t, "Publish", b.Publish(s.patient(t), &core.Event{ID: "evt_1", Topic: address(s.topic()), Payload: s.payload(1)}))
	}
	s.Start(t)
	back = true
	s.up(t, b)
	s.up(t, s.a)
	if pubsub(s) == "" {
		topic := s.topic()
		in := s.subscribe(t, b, exact(topic))
		s.mustPublish(t, s.a, topic, s.payload(1))
		in.waitFor(t, s.payload(1))
	}
}

// process is a backend that runs in one.
type process interface{ Process() plugins.ProcessStatus }

// testProcessKilled: the plugin's process is killed; with the next one everything
// goes on.
func (s *suite) testProcessKilled(t *testing.T) {
	topic, procedure := s.topic(), s.procedure()
	in := s.subscribe(t, s.b, exact(s.heard(topic)))
	if rpc(s) == "" {
		s.serve(t, s.b, exact(procedure), core.RegisterOptions{}, echo)
	}
	p := s.b.(process)
	pid := p.Process().PID
	child, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Kill(); err != nil {
		t.Fatalf("kill process %d: %v", pid, err)
	}
	s.eventually(t, func() bool { return p.Process().PID != pid && p.Process().State == core.Up }, func() string { return "no new process runs" })
	s.up(t, s.b)
	i := 0
	s.eventually(t, func() bool {
		i++
		_ = s.publish(s.a, topic, s.payload(i))
		return len(in.all()) > 0
	}, func() string { return "no event comes any more" })
	if rpc(s) == "" {
		s.callsAgain(t, procedure)
	}
}
