package backendtest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/anybridge/anybridge/core"
)

// inbox reads a subscription and keeps what came.
type inbox struct {
	s      *suite
	stream core.Stream[*core.Event]

	mu     sync.Mutex
	events []*core.Event
	gaps   []*core.Gap
	err    error // why it ended
}

// subscribe subscribes and reads; at the end of the test it unsubscribes.
func (s *suite) subscribe(t testing.TB, b core.Backend, p core.Pattern) *inbox {
	t.Helper()
	return s.read(t, s.mustSubscribe(t, b, p))
}

func (s *suite) mustSubscribe(t testing.TB, b core.Backend, p core.Pattern) core.Stream[*core.Event] {
	t.Helper()
	// As in Open, the context is for the request only.
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	stream, err := b.Subscribe(ctx, p)
	if err != nil {
		t.Fatalf("Subscribe to %s: %v", p, err)
	}
	t.Cleanup(func() { s.closeStream(t, stream.Close) })
	return stream
}

func (s *suite) closeStream(t testing.TB, closeIt func() error) {
	t.Helper()
	s.returns(t, "Close of a stream", func() {
		if err := closeIt(); err != nil {
			t.Errorf("Close of a stream: %v", err)
		}
	})
}

// read reads a stream until the end of the test.
func (s *suite) read(t testing.TB, stream core.Stream[*core.Event]) *inbox {
	in := &inbox{s: s, stream: stream}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	t.Cleanup(func() {
		cancel()
		<-done
	})
	go func() {
		defer close(done)
		for {
			batch, err := stream.Next(ctx)
			in.mu.Lock()
			if err != nil {
				if ctx.Err() == nil {
					in.err = err
				}
				in.mu.Unlock()
				return
			}
			for _, e := range batch {
				if e.Gap != nil {
					in.gaps = append(in.gaps, e.Gap)
				} else {
					in.events = append(in.events, e)
				}
			}
			in.mu.Unlock()
		}
	}()
	return in
}

func (in *inbox) all() []*core.Event {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.events)
}

// lost is how many events the gaps speak of; unknown if one of them does not know.
func (in *inbox) lost() (n int64, unknown bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, g := range in.gaps {
		n += g.Lost
		unknown = unknown || g.Lost == 0
	}
	return n, unknown
}

func (in *inbox) ended() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.err
}

// wait waits for n events and returns all that came.
func (in *inbox) wait(t testing.TB, n int) []*core.Event {
	t.Helper()
	in.s.eventually(t, func() bool { return len(in.all()) >= n || in.ended() != nil },
		func() string { return fmt.Sprintf("%d of %d events came", len(in.all()), n) })
	events := in.all()
	if len(events) < n {
		t.Fatalf("the stream ended after %d of %d events: %v", len(events), n, in.ended())
	}
	return events
}

// waitFor waits for an event with the payload, and returns what came before it.
func (in *inbox) waitFor(t testing.TB, p core.Payload) []*core.Event {
	t.Helper()
	want, at := in.s.canonical(p), -1
	in.s.eventually(t, func() bool {
		at = slices.IndexFunc(in.all(), func(e *core.Event) bool { return in.s.canonical(e.Payload) == want })
		return at >= 0 || in.ended() != nil
	}, func() string { return fmt.Sprintf("no event with the payload %s came; %s", clip(want), in.describe()) })
	if at < 0 {
		t.Fatalf("the stream ended without an event with the payload %s: %v", clip(want), in.ended())
	}
	return in.all()[:at]
}

func (in *inbox) describe() string {
	events := in.all()
	if len(events) == 0 {
		return "nothing came"
	}
	last := events[len(events)-1]
	return fmt.Sprintf("%d events came, the last one on %s with %s", len(events), last.Topic, clip(last.JSON()))
}

// checkEvent looks at what holds for every event that comes in.
func checkEvent(t testing.TB, e *core.Event, topic string) {
	t.Helper()
	if want := address(topic); e.Topic != want {
		t.Errorf("the event's topic is %s, want %s", e.Topic, want)
	}
	checkPayload(t, "event", e.Payload)
	checkDetails(t, "event", e.Details)
}

func checkPayload(t testing.TB, what string, p core.Payload) {
	t.Helper()
	var args []json.RawMessage
	var kwargs map[string]json.RawMessage
	if p.Args != nil && (json.Unmarshal(p.Args, &args) != nil || args == nil) {
		t.Errorf("args of the %s are no JSON list: %q", what, clip(string(p.Args)))
	}
	if p.Kwargs != nil && (json.Unmarshal(p.Kwargs, &kwargs) != nil || kwargs == nil) {
		t.Errorf("kwargs of the %s are no JSON object: %q", what, clip(string(p.Kwargs)))
	}
}

func checkDetails(t testing.TB, what string, details json.RawMessage) {
	t.Helper()
	var object map[string]json.RawMessage
	if details != nil && (json.Unmarshal(details, &object) != nil || object == nil) {
		t.Errorf("details of the %s are no JSON object: %q", what, details)
	}
}

func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return fmt.Sprintf("%s… (%d bytes)", s[:most], len(s))
}
