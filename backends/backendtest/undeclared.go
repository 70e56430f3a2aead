package backendtest

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"github.com/anybridge/anybridge/core"
)

// recorder is the bridge's other side: it takes deliveries and calls no app.
type recorder struct {
	mu   sync.Mutex
	owed []*core.Event
}

// Room implements core.Deliverer.
func (*recorder) Room() error { return nil }

// Deliver implements core.Deliverer.
func (r *recorder) Deliver(_ context.Context, owed []core.Owed) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range owed {
		e := *o.Event
		r.owed = append(r.owed, &e)
	}
	return nil
}

// Invoke implements core.Invoker.
func (*recorder) Invoke(_ context.Context, _ *core.Registration, inv *core.Invocation) (*core.Result, error) {
	return &core.Result{Payload: inv.Payload}, nil
}

func (r *recorder) all() []*core.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*core.Event(nil), r.owed...)
}

// bridge puts a backend under a bridge of its own.
func (s *suite) bridge(t testing.TB, b core.Backend) (*core.Bridge, *recorder) {
	t.Helper()
	r := &recorder{}
	bridge := core.NewBridge(core.BridgeOptions{DefaultBackend: backendName, Deliverer: r, Invoker: r, Log: slog.New(s.book)})
	bridge.SetBackend(backendName, b, s.info)
	t.Cleanup(func() {
		if err := bridge.Close(s.patient(t)); err != nil {
			t.Errorf("close the bridge: %v", err)
		}
	})
	return bridge, r
}

// testUndeclared: what is not declared is Unimplemented to the bridge's users, and
// a direct request, which nobody makes, comes back.
func (s *suite) testUndeclared(t *testing.T) {
	bridge, _ := s.bridge(t, s.a)
	can := s.info.Can
	ctx := s.patient(t)
	unimplemented := func(what string, err error) {
		t.Helper()
		if core.CodeOf(err) != core.Unimplemented {
			t.Errorf("%s is not declared, and the bridge answers %v (%s)", what, err, core.CodeOf(err))
		}
	}
	event := func(o core.PublishOptions) *core.Event {
		return &core.Event{Topic: address(s.topic()), Payload: s.payload(1), Options: o}
	}
	if !can.Publish {
		unimplemented("Publish", bridge.Publish(ctx, event(core.PublishOptions{})))
		s.returns(t, "Publish", func() { _ = s.a.Publish(ctx, event(core.PublishOptions{})) })
	}
	if can.Publish && !can.Retain {
		retained := core.PublishOptions{Retain: true}
		unimplemented("Retain", bridge.Publish(ctx, event(retained)))
		s.returns(t, "Publish with Retain", func() { _ = s.a.Publish(ctx, event(retained)) })
	}
	if !can.Call {
		call := &core.Call{Procedure: address(s.procedure()), Payload: s.payload(1)}
		_, err := bridge.Call(ctx, call)
		unimplemented("Call", err)
		s.returns(t, "Call", func() { _, _ = s.a.Call(ctx, call) })
	}
	for _, m := range []core.Match{core.Exact, core.Prefix, core.Wildcard} {
		if !can.CanSubscribe(m) {
			p, _, _ := s.Pattern(m, s.topic())
			unimplemented("Subscribe "+string(m), bridge.Subscribe(ctx, []*core.Subscription{{Owner: "test", Pattern: pattern(m, p)}}))
			s.returns(t, "Subscribe", func() {
				if stream, err := s.a.Subscribe(ctx, pattern(m, p)); err == nil {
					s.closeStream(t, stream.Close)
				}
			})
		}
		if !can.CanRegister(m) {
			p, _, _ := s.Pattern(m, s.procedure())
			unimplemented("Register "+string(m), bridge.Register(ctx, []*core.Registration{{Owner: "test", Pattern: pattern(m, p)}}))
			s.returns(t, "Register", func() {
				if stream, err := s.a.Register(ctx, pattern(m, p), core.RegisterOptions{}); err == nil {
					s.closeStream(t, stream.Close)
				}
			})
		}
	}
	s.up(t, s.a)
}

// testBridge: under a bridge each event is delivered once, whether it comes from
// the system or from the bridge itself.
func (s *suite) testBridge(t *testing.T) {
	bridge, got := s.bridge(t, s.b)
	topic := s.topic()
	sub := &core.Subscription{Owner: "test", Pattern: exact(s.heard(topic))}
	if err := bridge.Subscribe(s.patient(t), []*core.Subscription{sub}); err != nil {
		t.Fatalf("Subscribe: %v", err)
	}
	const n = 5
	for i := range n {
		s.mustPublish(t, s.a, topic, s.payload(i))
	}
	own := &core.Event{Topic: address(s.heard(topic)), Payload: s.payload(n)}
	if err := bridge.Publish(s.patient(t), own); err != nil {
		t.Fatalf("Publish: %v", err)
	}
	s.mustPublish(t, s.a, topic, s.payload(n+1))
	s.eventually(t, func() bool { return len(got.all()) >= n+2 }, func() string { return "not every event was delivered" })
	seen := map[string]int{}
	for _, e := range got.all() {
		seen[s.canonical(e.Payload)]++
	}
	for i := range n + 2 {
		if times := seen[s.canonical(s.payload(i))]; times != 1 {
			t.Errorf("event %d was delivered %d times", i, times)
		}
	}
}
