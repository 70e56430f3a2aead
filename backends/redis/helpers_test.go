package redis_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"testing"

	"github.com/anybridge/anybridge/backends/redis"
	"github.com/anybridge/anybridge/backends/redis/redistest"
	"github.com/anybridge/anybridge/core"
)

type settings map[string]any

func open(t testing.TB, url string, more ...settings) *redis.Backend {
	t.Helper()
	b := redis.New(slog.New(slog.NewTextHandler(t.Output(), nil)))
	if _, err := b.Open(t.Context(), config(url, more...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBackend(t, b) })
	return b
}

func config(url string, more ...settings) json.RawMessage {
	all := settings{"url": url, "ping_interval": "200ms"}
	for _, m := range more {
		maps.Copy(all, m)
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return text
}

func closeBackend(t testing.TB, b *redis.Backend) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Error(err)
	}
}

func patient(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
	t.Cleanup(cancel)
	return ctx
}

func topic(name string) core.Address { return core.Address{Backend: "redis", Name: name} }

func event(name, args string) *core.Event {
	return &core.Event{ID: core.NewID("evt"), Topic: topic(name), Payload: core.Payload{Args: json.RawMessage(args)}}
}

func subscribe(t testing.TB, b *redis.Backend, name string, m core.Match) core.Stream[*core.Event] {
	t.Helper()
	var stream core.Stream[*core.Event]
	redistest.Eventually(t, "subscribe to "+name, func() bool {
		var err error
		stream, err = b.Subscribe(patient(t), core.Pattern{Address: topic(name), Match: m})
		if err != nil && core.CodeOf(err) != core.Unavailable {
			t.Fatal(err)
		}
		return err == nil
	})
	t.Cleanup(func() { _ = stream.Close() })
	return stream
}

func publish(t testing.TB, b *redis.Backend, e *core.Event) {
	t.Helper()
	redistest.Eventually(t, "publish", func() bool {
		err := b.Publish(patient(t), e)
		if err != nil && core.CodeOf(err) != core.Unavailable {
			t.Fatal(err)
		}
		return err == nil
	})
}

// handed is how many events a stream has handed out last.
var handed sync.Map

// next asks for more, as the host does: what came before is confirmed.
func next(t testing.TB, ctx context.Context, s core.Stream[*core.Event]) ([]*core.Event, error) { //nolint:revive // t is first everywhere
	t.Helper()
	if n, ok := handed.LoadAndDelete(s); ok {
		if c, ok := s.(core.Confirmer); ok {
			c.Confirm(n.(int))
		}
	}
	events, err := s.Next(ctx)
	handed.Store(s, len(events))
	return events, err
}

// take waits for n events and returns them; gaps are left out.
func take(t testing.TB, s core.Stream[*core.Event], n int) (events []*core.Event) {
	t.Helper()
	for len(events) < n {
		batch, err := next(t, patient(t), s)
		if err != nil {
			var got []string
			for _, e := range events {
				got = append(got, e.Text())
			}
			t.Fatalf("%v after %d events of %d: %q", err, len(events), n, got)
		}
		for _, e := range batch {
			if e.Gap == nil {
				events = append(events, e)
			}
		}
	}
	return events
}

// takeGap waits for a gap and leaves out events.
func takeGap(t testing.TB, s core.Stream[*core.Event]) *core.Gap {
	t.Helper()
	for {
		batch, err := next(t, patient(t), s)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range batch {
			if e.Gap != nil {
				return e.Gap
			}
		}
	}
}

func wantArgs(t testing.TB, e *core.Event, name, args string) {
	t.Helper()
	if e.Topic.Name != name || string(e.Args) != args {
		t.Errorf("got %s %s %s, want %s %s", e.Topic.Name, e.Args, e.Kwargs, name, args)
	}
}

func wantCode(t testing.TB, err error, code core.Code) {
	t.Helper()
	if core.CodeOf(err) != code {
		t.Fatalf("got %v (%s), want %s", err, core.CodeOf(err), code)
	}
}

func counter(t testing.TB, b *redis.Backend, name string) int64 {
	t.Helper()
	st, err := b.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n, ok := st.Counters[name]
	if !ok {
		t.Fatalf("no counter %s", name)
	}
	return n
}

func waitState(t testing.TB, b *redis.Backend, want core.State) {
	t.Helper()
	redistest.Eventually(t, fmt.Sprintf("state %s", want), func() bool {
		st, err := b.Status(t.Context())
		return err == nil && st.State == want
	})
}
