package kit_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/kit"
)

// attempt is what one session of a test does: it fails, or is up until it is ended.
type attempt struct {
	fail error
	up   time.Duration
}

// system is a system to connect to.
type system struct {
	link     *kit.Link
	attempts []attempt
	times    []time.Duration // when they were, since the beginning
	began    time.Time
}

func (s *system) session(ctx context.Context) error {
	s.times = append(s.times, time.Since(s.began).Round(time.Second))
	a := attempt{fail: errors.New("gone")}
	if len(s.attempts) > 0 {
		a, s.attempts = s.attempts[0], s.attempts[1:]
	}
	if a.up > 0 {
		s.link.Up()
		select {
		case <-time.After(a.up):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return a.fail
}

func TestLinkComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("no route")
		s := &system{began: time.Now(), attempts: []attempt{{down, 0}, {down, time.Hour}, {core.Errorf(core.Forbidden, "wrong password"), 0}, {down, time.Hour}}}
		s.link = kit.NewLink(kit.LinkOptions{Name: "the test", FirstPause: time.Second, RefusedPause: time.Minute})
		err := s.link.Do(t.Context(), nil)
		if core.CodeOf(err) != core.Unavailable || err.Error() != "not connected to the test yet" {
			t.Error(err)
		}
		s.link.Start(s.session)
		s.link.Ready(t.Context())
		if st := s.link.Status(); st.State != core.Connecting || st.Reason != "no route" {
			t.Error(st)
		}
		err = s.link.Unavailable()
		if core.AsError(err).RetryAfter < time.Second/2 || err.Error() != "no connection to the test: no route" {
			t.Error(err, core.AsError(err).RetryAfter)
		}
		time.Sleep(time.Minute)
		if st := s.link.Status(); st.State != core.Up || st.Reason != "" || st.Counters["connections"] != 1 {
			t.Error(st)
		}
		err = s.link.Do(t.Context(), func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		if core.CodeOf(err) != core.Unavailable || err.Error() != "the connection to the test was lost" {
			t.Error(err)
		}
		if lost := s.link.LostAt(); time.Since(lost) > time.Second {
			t.Error(lost)
		}
		time.Sleep(10 * time.Second) // the refusal
		if st := s.link.Status(); st.State != core.Down || st.Reason != "wrong password" {
			t.Error(st)
		}
		time.Sleep(2 * time.Minute)
		if st := s.link.Status(); st.State != core.Up || st.Counters["connections"] != 2 {
			t.Error(st)
		}
		if n := len(s.times); n != 4 || s.times[3]-s.times[2] < 30*time.Second {
			t.Error(s.times)
		}
		s.link.Stop()
		if st := s.link.Status(); st.State != core.Down || st.Reason != "closed" {
			t.Error(st)
		}
	})
}

func TestLinkDo(t *testing.T) {
	l := kit.NewLink(kit.LinkOptions{Name: "the test"})
	l.Up()
	ctx, cancel := context.WithCancel(t.Context())
	for want, do := range map[string]func(context.Context) error{
		"":                                  func(context.Context) error { return nil },
		"not_found: none":                   func(context.Context) error { return core.Errorf(core.NotFound, "none") },
		"unavailable: the test refuses: no": func(context.Context) error { return errors.New("no") },
		"canceled":                          func(ctx context.Context) error { cancel(); <-ctx.Done(); return errors.New("whatever") },
	} {
		use := t.Context()
		if want == "canceled" {
			use = ctx
		}
		got := ""
		if err := l.Do(use, do); err != nil {
			got = string(core.CodeOf(err)) + ": " + err.Error()
		}
		if got != want && !strings.HasPrefix(got, want+":") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestPending(t *testing.T) {
	l := kit.NewLink(kit.LinkOptions{Name: "the test"})
	l.Up()
	var p kit.Pending[string]
	var used string
	got, err := p.Ask(t.Context(), l, func(_ context.Context, id string) error {
		used = id
		if p.Answer("another", "x") || !p.Answer(id, "yes") || p.Answer(id, "twice") {
			t.Error("wrong answers")
		}
		return nil
	})
	if got != "yes" || err != nil {
		t.Error(got, err)
	}
	if p.Answer(used, "late") {
		t.Error("somebody waits after the end")
	}
	if _, err = p.Ask(t.Context(), l, func(context.Context, string) error { l.Lost(errors.New("gone")); return nil }); core.CodeOf(err) != core.Unavailable {
		t.Error(err)
	}
}
