package store

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"
)

func openEmbedded(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// caughtUpAfter reads until CaughtUp is called, and returns how many messages came
// before that.
func caughtUpAfter(t *testing.T, s *Store, subject string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	n := 0
	called := false
	_ = s.Read(ctx, Reading{
		Stream: Later, Subject: subject,
		Each:     func(*Msg) { n++ },
		CaughtUp: func() { called = true; cancel() },
	})
	if !called {
		t.Fatalf("%s: CaughtUp was not called; %d messages", subject, n)
	}
	return n
}

func TestCaughtUpComesAfterWhatIsThere(t *testing.T) {
	s := openEmbedded(t)
	var last uint64
	for _, id := range []string{"0.a.1", "0.a.2", "1.b.1", "0.c.1"} {
		seq, err := s.PutWait(t.Context(), Put{Subject: s.Subject(Later, id), Data: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		last = seq
	}
	for subject, want := range map[string]int{"0.*.*": 3, "1.*.*": 1, "2.*.*": 0, ">": 4} {
		if got := caughtUpAfter(t, s, s.Subject(Later, subject)); got != want {
			t.Errorf("%s: caught up after %d messages, want %d", subject, got, want)
		}
	}
	// The last one is removed: there is nothing to wait for.
	if err := s.PurgeWait(t.Context(), Later, s.Subject(Later, "0.c.1"), last+1); err != nil {
		t.Fatal(err)
	}
	if got := caughtUpAfter(t, s, s.Subject(Later, "0.*.*")); got != 2 {
		t.Errorf("caught up after %d messages, want 2", got)
	}
}

// A lane that resumes waits for this, and must not wait for a moment in which nobody
// makes a call.
func TestCaughtUpComesWhileMoreIsWritten(t *testing.T) {
	s := openEmbedded(t)
	put := func(n int) {
		if _, err := s.PutWait(t.Context(), Put{Subject: s.Subject(Later, "0.a", strconv.Itoa(n)), Data: []byte("x")}); err != nil {
			t.Error(err)
		}
	}
	for n := range 1000 {
		put(n)
	}
	writing, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	writer.Go(func() {
		for n := 1000; writing.Err() == nil; n++ {
			put(n)
		}
	})
	if got := caughtUpAfter(t, s, s.Subject(Later, "0.*.*")); got < 1000 {
		t.Errorf("caught up after %d messages, want 1000 at least", got)
	}
	stop()
	writer.Wait()
}
