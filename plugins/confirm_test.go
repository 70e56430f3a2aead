package plugins

import (
	"context"
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
)

// What the host has taken charge of is confirmed to the backend, with what was too large
// to reach the host; and a fresh process hears nothing of what its predecessor handed in.
func TestConfirmations(t *testing.T) {
	p, _ := launch(t)
	s, err := p.Subscribe(t.Context(), exact("echo.confirmed"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	publish := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			e := &core.Event{Topic: name("confirmed"), Payload: core.Payload{Args: json.RawMessage(fmt.Sprintf("[%d]", i))}}
			if err := p.Publish(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
	}
	take := func(n int) {
		t.Helper()
		for n > 0 {
			events, err := s.Next(patient(t))
			if err != nil {
				t.Fatal(err)
			}
			n -= len(events)
		}
	}
	confirm := func(n int) { s.(core.Confirmer).Confirm(n) }
	publish(0, 10)
	take(10)
	if counter(t, p, "confirmed") != 0 {
		t.Fatal("confirmed before it was")
	}
	confirm(3)
	confirm(7)
	eventually(t, "all are confirmed", func() bool { return counter(t, p, "confirmed") == 10 })

	publish(10, 15)
	take(5) // but they are not confirmed when the process dies
	if err := syscall.Kill(p.Process().PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	fresh := 0
	eventually(t, "an event of another process", func() bool {
		_ = p.Publish(t.Context(), &core.Event{Topic: name("confirmed")}) // it may not be subscribed yet
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		events, _ := s.Next(ctx)
		fresh += len(events)
		return fresh > 0
	})
	confirm(5) // those of the former process
	if n := counter(t, p, "confirmed"); n != 0 {
		t.Fatalf("%d were confirmed to a process that did not hand them in", n)
	}
	confirm(fresh)
	eventually(t, "the fresh ones are confirmed", func() bool { return counter(t, p, "confirmed") == int64(fresh) })
}
