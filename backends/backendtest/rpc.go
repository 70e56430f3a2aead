package backendtest

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
)

// handler answers an invocation.
type handler func(*core.Invocation)

func echo(inv *core.Invocation) { inv.Reply(&core.Result{Payload: inv.Payload}, nil) }

// serve registers and answers until the end of the test.
func (s *suite) serve(t testing.TB, b core.Backend, p core.Pattern, o core.RegisterOptions, h handler) core.Stream[*core.Invocation] {
	t.Helper()
	stream := s.mustRegister(t, b, p, o)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			batch, err := stream.Next(ctx)
			if err != nil {
				return
			}
			for _, inv := range batch {
				wg.Go(func() { h(inv) })
			}
		}
	})
	return stream
}

func (s *suite) mustRegister(t testing.TB, b core.Backend, p core.Pattern, o core.RegisterOptions) core.Stream[*core.Invocation] {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	stream, err := b.Register(ctx, p, o)
	if err != nil {
		t.Fatalf("Register %s: %v", p, err)
	}
	t.Cleanup(func() { s.closeStream(t, stream.Close) })
	return stream
}

func (s *suite) call(b core.Backend, procedure string, p core.Payload) (*core.Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	for {
		r, err := b.Call(ctx, &core.Call{Procedure: address(procedure), Payload: p})
		if core.CodeOf(err) != core.TooMany {
			return r, err
		}
		select {
		case <-time.After(max(core.AsError(err).RetryAfter, 10*time.Millisecond)):
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (s *suite) mustCall(t testing.TB, b core.Backend, procedure string, p core.Payload) {
	t.Helper()
	r, err := s.call(b, procedure, p)
	if err != nil {
		t.Fatalf("Call %s: %v", procedure, err)
	}
	checkPayload(t, "result", r.Payload)
	s.samePayload(t, "result", r.Payload, p)
}

func (s *suite) testCall(t *testing.T) {
	procedure := s.procedure()
	ids := sync.Map{}
	s.serve(t, s.b, exact(procedure), core.RegisterOptions{}, func(inv *core.Invocation) {
		if want := address(procedure); inv.Procedure != want {
			t.Errorf("the invocation's procedure is %s, want %s", inv.Procedure, want)
		}
		if _, twice := ids.LoadOrStore(inv.ID, true); twice && inv.ID != "" {
			t.Errorf("two invocations have the id %q", inv.ID)
		}
		checkPayload(t, "invocation", inv.Payload)
		checkDetails(t, "invocation", inv.Details)
		echo(inv)
		inv.Reply(nil, core.Errorf(core.Internal, "a second answer")) // is ignored
	})
	for i := range 3 {
		s.mustCall(t, s.a, procedure, s.payload(i))
	}
	r, err := s.a.Call(s.patient(t), &core.Call{
		Procedure: address(procedure), Payload: s.payload(1), Caller: core.Caller{Token: "shop", User: "ann\r\n"},
	})
	if err != nil {
		t.Fatalf("Call with a caller: %v", err)
	}
	checkDetails(t, "result", r.Details)
}

func (s *suite) testCallErrors(t *testing.T) {
	procedure := s.procedure()
	sold := &core.Error{Code: core.Application, URI: "com.test.sold_out", Message: "none left", Payload: s.payload(7)}
	s.serve(t, s.b, exact(procedure), core.RegisterOptions{}, func(inv *core.Invocation) {
		switch s.canonical(inv.Payload) {
		case s.canonical(s.payload(1)):
			inv.Reply(nil, sold)
		case s.canonical(s.payload(2)):
			inv.Reply(nil, errors.New("no error of core's"))
		case s.canonical(s.payload(3)):
			inv.Reply(nil, core.Errorf(core.CallbackFailed, "the app is broken"))
		default:
			echo(inv)
		}
	})
	_, err := s.call(s.a, procedure, s.payload(1))
	if got := core.AsError(err); got == nil || !s.PlainErrors && (got.Code != core.Application || got.URI != sold.URI) {
		t.Errorf("an application error arrived as %v (%s)", err, core.CodeOf(err))
	} else if !s.PlainErrors {
		s.samePayload(t, "error", got.Payload, sold.Payload)
	}
	for i := 2; i <= 3; i++ {
		if _, err := s.call(s.a, procedure, s.payload(i)); err == nil {
			t.Error("an error arrived as a result")
		}
	}
	s.mustCall(t, s.a, procedure, s.payload(4))
}

func (s *suite) testNoSuchProcedure(t *testing.T) {
	if _, err := s.call(s.a, s.procedure(), s.payload(1)); core.CodeOf(err) != core.NoSuchProcedure {
		t.Errorf("got %v (%s), want %s", err, core.CodeOf(err), core.NoSuchProcedure)
	}
}

// testConcurrentCalls: answers belong to their calls, and a slow one holds up
// nobody.
func (s *suite) testConcurrentCalls(t *testing.T) {
	procedure := s.procedure()
	release := make(chan struct{})
	slow := s.canonical(s.payload(0))
	s.serve(t, s.b, exact(procedure), core.RegisterOptions{}, func(inv *core.Invocation) {
		if s.canonical(inv.Payload) == slow {
			<-release
		}
		echo(inv)
	})
	var first, wg sync.WaitGroup
	first.Go(func() { _ = s.checkCall(t, procedure, 0) })
	const workers = 16
	each := max(1, s.Events/workers)
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				if !s.checkCall(t, procedure, 1+w*each+i) {
					return
				}
			}
		})
	}
	wg.Wait()
	close(release)
	first.Wait()
}

// checkCall is mustCall for other goroutines than the test's.
func (s *suite) checkCall(t testing.TB, procedure string, i int) bool {
	r, err := s.call(s.a, procedure, s.payload(i))
	if err != nil {
		t.Errorf("Call %s: %v", procedure, err)
		return false
	}
	s.samePayload(t, "result", r.Payload, s.payload(i))
	return true
}

// pending registers a procedure that does not answer by itself.
func (s *suite) pending(t testing.TB, b core.Backend) (procedure string, invocations chan *core.Invocation) {
	procedure = s.procedure()
	invocations = make(chan *core.Invocation, 100)
	s.serve(t, b, exact(procedure), core.RegisterOptions{}, func(inv *core.Invocation) { invocations <- inv })
	return procedure, invocations
}

func receive[T any](s *suite, t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(s.Patience):
		t.Fatalf("waited %s for %s", s.Patience, what)
	}
	return v
}

// start makes a call and returns where its error will come.
func (s *suite) start(ctx context.Context, b core.Backend, procedure string) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := b.Call(ctx, &core.Call{Procedure: address(procedure), Payload: s.payload(1)})
		done <- err
	}()
	return done
}

func (s *suite) testCancel(t *testing.T) {
	procedure, invocations := s.pending(t, s.b)
	ctx, cancel := context.WithCancel(s.patient(t))
	defer cancel()
	done := s.start(ctx, s.a, procedure)
	inv := receive(s, t, "the invocation", invocations)
	cancel()
	if err := receive(s, t, "the cancelled call", done); core.CodeOf(err) != core.Canceled {
		t.Errorf("a cancelled call returned %v (%s), want %s", err, core.CodeOf(err), core.Canceled)
	}
	if !s.NoCancel {
		if inv.Canceled == nil {
			t.Error("the invocation has no channel Canceled")
		} else {
			receive(s, t, "the invocation to be cancelled", inv.Canceled)
		}
	}
	echo(inv) // too late, and harmless
	s.answered(t, procedure, invocations)
}

// answered checks that the procedure still works.
func (s *suite) answered(t testing.TB, procedure string, invocations <-chan *core.Invocation) {
	t.Helper()
	done := s.start(s.patient(t), s.a, procedure)
	echo(receive(s, t, "the next invocation", invocations))
	if err := receive(s, t, "the next call", done); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func (s *suite) testDeadline(t *testing.T) {
	procedure, invocations := s.pending(t, s.b)
	const allowed = 500 * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), allowed)
	defer cancel()
	done := s.start(ctx, s.a, procedure)
	err := receive(s, t, "the call whose deadline passes", done)
	if core.CodeOf(err) != core.Timeout {
		t.Errorf("the call returned %v (%s), want %s", err, core.CodeOf(err), core.Timeout)
	}
	select {
	case inv := <-invocations:
		if inv.Timeout < 0 || inv.Timeout > 2*allowed {
			t.Errorf("the invocation has a timeout of %s, the caller allowed %s", inv.Timeout, allowed)
		}
		echo(inv)
	case <-time.After(allowed): // on a busy machine it came too late to be made
	}
	s.answered(t, procedure, invocations)
}

func (s *suite) testUnregister(t *testing.T) {
	procedure := s.procedure()
	for i := range 3 {
		stream := s.serve(t, s.b, exact(procedure), core.RegisterOptions{}, echo)
		s.mustCall(t, s.a, procedure, s.payload(i))
		s.closeStream(t, stream.Close)
		s.closeStream(t, stream.Close)
		// Close does not wait for the system.
		var err error
		s.eventually(t, func() bool {
			_, err = s.call(s.a, procedure, s.payload(i))
			return err != nil && core.CodeOf(err) != core.Unavailable
		}, func() string { return "calls are answered after Close" })
		if core.CodeOf(err) != core.NoSuchProcedure {
			t.Errorf("a call after Close: %v (%s), want %s", err, core.CodeOf(err), core.NoSuchProcedure)
		}
	}
	// What nobody has taken is answered when the registration goes.
	stream := s.mustRegister(t, s.b, exact(procedure), core.RegisterOptions{})
	forever, cancel := context.WithCancel(context.Background())
	defer cancel()
	_ = s.start(forever, s.a, procedure)
	batch, err := stream.Next(s.patient(t))
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	first := batch[0]
	done := s.start(forever, s.a, procedure)
	time.Sleep(50 * time.Millisecond) // it may be on its way or not: both must end
	s.closeStream(t, stream.Close)
	first.Reply(&core.Result{}, nil)
	if err := receive(s, t, "the call that was not taken", done); err == nil {
		t.Error("a call that nobody took has a result")
	}
}

func (s *suite) testRegisteredTwice(t *testing.T) {
	procedure := s.procedure()
	s.serve(t, s.b, exact(procedure), core.RegisterOptions{}, echo)
	stream, err := s.c.Register(s.patient(t), exact(procedure), core.RegisterOptions{})
	if err == nil {
		s.closeStream(t, stream.Close)
	}
	if core.CodeOf(err) != core.AlreadyExists {
		t.Errorf("got %v (%s), want %s", err, core.CodeOf(err), core.AlreadyExists)
	}
	s.mustCall(t, s.a, procedure, s.payload(1))
}

func (s *suite) testRegisteredPatterns(t *testing.T) {
	for _, m := range s.info.Can.Register {
		t.Run(string(m), func(t *testing.T) {
			p, matching, other := s.Pattern(m, s.procedure())
			called := make(chan core.Address, 10)
			s.serve(t, s.b, pattern(m, p), core.RegisterOptions{}, func(inv *core.Invocation) {
				called <- inv.Procedure
				echo(inv)
			})
			for i, procedure := range matching {
				s.mustCall(t, s.a, procedure, s.payload(i))
				if got := receive(s, t, "the invocation", called); got != address(procedure) {
					t.Errorf("the invocation's procedure is %s, want %s", got, address(procedure))
				}
			}
			if _, err := s.call(s.a, other, s.payload(1)); core.CodeOf(err) != core.NoSuchProcedure {
				t.Errorf("calling %s, which does not match: %v (%s), want %s", other, err, core.CodeOf(err), core.NoSuchProcedure)
			}
		})
	}
}

func (s *suite) testInvoke(t *testing.T) {
	for _, policy := range s.info.Can.Invoke {
		t.Run(policy, func(t *testing.T) {
			procedure, o := s.procedure(), core.RegisterOptions{Invoke: policy}
			var first, second atomic.Int64
			count := func(n *atomic.Int64) handler {
				return func(inv *core.Invocation) {
					n.Add(1)
					echo(inv)
				}
			}
			s.serve(t, s.b, exact(procedure), o, count(&first))
			if policy == "single" {
				s.mustCall(t, s.a, procedure, s.payload(1))
				return
			}
			s.serve(t, s.c, exact(procedure), o, count(&second))
			const n = 64
			for i := range n {
				s.mustCall(t, s.a, procedure, s.payload(i))
			}
			x, y := first.Load(), second.Load()
			ok := x+y == n
			switch policy {
			case "first":
				ok = ok && y == 0
			case "last":
				ok = ok && x == 0
			case "roundrobin":
				ok = ok && x == y
			case "random":
				ok = ok && x > 0 && y > 0
			}
			if !ok {
				t.Errorf("of %d calls, the first registration got %d and the second %d", n, x, y)
			}
		})
	}
}

// testHostileCalls sends the hostile payloads forth and back.
func (s *suite) testHostileCalls(t *testing.T) {
	procedure := s.procedure()
	s.serve(t, s.b, exact(procedure), core.RegisterOptions{}, echo)
	for _, h := range s.hostilePayloads() {
		r, err := s.call(s.a, procedure, h.payload)
		switch {
		case err != nil:
			if bad := oneOf(err, core.InvalidArgument, core.TooLarge); bad != nil {
				t.Fatalf("%s: Call: %v", h.name, bad)
			}
		case s.Payload == nil:
			if s.canonical(r.Payload) != s.canonical(h.payload) {
				t.Errorf("%s came back as %s", h.name, clip(r.JSON()))
			}
		default:
			checkPayload(t, "result", r.Payload)
		}
	}
	s.mustCall(t, s.a, procedure, s.payload(1))
	// And as errors.
	raise := s.procedure()
	s.serve(t, s.b, exact(raise), core.RegisterOptions{}, func(inv *core.Invocation) {
		inv.Reply(nil, &core.Error{Code: core.Application, URI: "com.test.error", Message: "a\r\nb\x00\"<c>", Payload: core.Payload{
			Args: json.RawMessage(`["a\r\nb\u0000<c>"]`),
		}})
	})
	if _, err := s.call(s.a, raise, s.payload(1)); err == nil {
		t.Error("an error arrived as a result")
	}
	s.mustCall(t, s.a, procedure, s.payload(2))
}
