package backendtest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/anybridge/anybridge/core"
)

// watch fails the test if goroutines are left at its end that were not there now.
func (s *suite) watch(t testing.TB) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if t.Failed() {
			return // what has failed may well hang
		}
		deadline := time.Now().Add(s.Patience)
		for {
			err := goleak.Find(before)
			if err == nil {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("goroutines are left after Close: %v", err)
				return
			}
		}
	})
}

// testClose: a closed backend says so, to everything, at once.
func (s *suite) testClose(t *testing.T) {
	s.watch(t)
	b, info := s.open(t, s.Config(t))
	for range 2 { // closing twice is allowed
		s.returns(t, "Close", func() {
			if err := b.Close(s.patient(t)); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	gone := func(what string, err error) {
		t.Helper()
		if bad := oneOf(err, core.Unavailable, core.Canceled); bad != nil {
			t.Errorf("%s after Close: %v", what, bad)
		}
	}
	can := info.Can
	if can.Publish {
		s.returns(t, "Publish after Close", func() { gone("Publish", s.publish(b, s.topic(), s.payload(1))) })
	}
	if can.Call {
		s.returns(t, "Call after Close", func() {
			_, err := s.call(b, s.procedure(), s.payload(1))
			gone("Call", err)
		})
	}
	if can.CanSubscribe(core.Exact) {
		s.returns(t, "Subscribe after Close", func() {
			_, err := b.Subscribe(s.patient(t), exact(s.topic()))
			gone("Subscribe", err)
		})
	}
	if can.CanRegister(core.Exact) {
		s.returns(t, "Register after Close", func() {
			_, err := b.Register(s.patient(t), exact(s.procedure()), core.RegisterOptions{})
			gone("Register", err)
		})
	}
	s.returns(t, "Status after Close", func() {
		if st, err := b.Status(s.patient(t)); err == nil && st.State == core.Up {
			t.Error("Status after Close says that the backend is up")
		}
	})
}

// testCloseStreams: Close ends the streams, whether somebody waits on them or not.
func (s *suite) testCloseStreams(t *testing.T) {
	s.watch(t)
	b, info := s.open(t, s.Config(t))
	ended := make(chan error, 1)
	stream := s.mustSubscribe(t, b, pattern(info.Can.Subscribe[0], s.heard(s.topic())))
	go func() {
		_, err := stream.Next(s.patient(t))
		ended <- err
	}()
	var calls core.Stream[*core.Invocation]
	if info.Can.CanRegister(core.Exact) {
		calls = s.mustRegister(t, b, exact(s.procedure()), core.RegisterOptions{})
	}
	s.close(t, b)
	if err := receive(s, t, "the end of a stream", ended); !errors.Is(err, io.EOF) {
		t.Errorf("Next returned %v after Close, want io.EOF", err)
	}
	s.returns(t, "Next after the end", func() {
		if _, err := stream.Next(s.patient(t)); !errors.Is(err, io.EOF) {
			t.Errorf("the second Next returned %v after Close, want io.EOF", err)
		}
		if calls == nil {
			return
		}
		if _, err := calls.Next(s.patient(t)); !errors.Is(err, io.EOF) {
			t.Errorf("Next of a registration returned %v after Close, want io.EOF", err)
		}
	})
}

// testCloseCalls: what is in flight ends, also when the app behind it never
// answers.
func (s *suite) testCloseCalls(t *testing.T) {
	s.watch(t)
	callee, _ := s.open(t, s.Config(t))
	caller := callee
	if s.Answer == nil {
		caller, _ = s.open(t, s.Config(t))
	}
	procedure, invocations := s.pending(t, callee)
	done := s.start(s.patient(t), caller, procedure)
	inv := receive(s, t, "the invocation", invocations)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s.returns(t, "Close", func() { _ = callee.Close(ctx) }) // its time may have run out
	if err := receive(s, t, "the call to a backend that was closed", done); err == nil {
		t.Error("a call that nobody answered has a result")
	}
	inv.Reply(&core.Result{}, nil) // too late, and harmless
}

// testWrongConfig: Open names what is wrong, and leaves nothing behind.
func (s *suite) testWrongConfig(t *testing.T) {
	s.watch(t)
	wrong := map[string]string{
		`{"no_such_key": 1}`: "no_such_key",
		`[]`:                 "",
		`{"a": `:             "",
	}
	for section, say := range s.BadConfigs {
		wrong[section] = say
	}
	for section, say := range wrong {
		s.returns(t, "Open with a wrong section", func() {
			b, _, err := s.opener(s.patient(t), json.RawMessage(section), slog.New(s.book))
			if core.CodeOf(err) != core.InvalidArgument {
				t.Errorf("Open with %s: got %v (%s), want %s", section, err, core.CodeOf(err), core.InvalidArgument)
			}
			if err != nil && !strings.Contains(err.Error(), say) {
				t.Errorf("Open with %s: the error %q does not name %q", section, err, say)
			}
			if err != nil {
				s.checkSecrets(t, "an error", err.Error())
			}
			if b != nil { // of a process, nothing is left to be closed
				if err := b.Close(s.patient(t)); err != nil {
					t.Errorf("Close after a failed Open: %v", err)
				}
			}
		})
	}
}

// testReopen: Open on an open backend applies a section in place, or refuses and changes
// nothing; a wrong section changes nothing either.
func (s *suite) testReopen(t *testing.T) {
	config := s.Config(t)
	b, _ := s.open(t, config)
	a := b
	if s.Answer == nil {
		a, _ = s.open(t, s.Config(t))
	}
	topic := s.topic()
	var in *inbox
	if pubsub(s) == "" {
		in = s.subscribe(t, b, exact(s.heard(topic)))
	}
	procedure := s.procedure()
	if rpc(s) == "" {
		s.serve(t, b, exact(procedure), core.RegisterOptions{}, echo)
	}
	works := func(i int) {
		t.Helper()
		if in != nil {
			s.mustPublish(t, a, topic, s.payload(i))
			in.waitFor(t, s.payload(i))
		}
		if rpc(s) == "" {
			s.mustCall(t, a, procedure, s.payload(i))
		}
	}
	works(1)
	if _, err := b.Open(s.patient(t), config); oneOf(err, "", core.Unimplemented) != nil {
		t.Errorf("Open on an open backend: %v", err)
	}
	s.up(t, b)
	if p, ok := b.(process); ok && p.Process().Restarts > 0 {
		t.Log("a changed section needs a fresh process")
	}
	works(2)
	if _, err := b.Open(s.patient(t), json.RawMessage(`{"no_such_key": 1}`)); err == nil {
		t.Error("Open on an open backend accepts a wrong section")
	}
	works(3)
}
