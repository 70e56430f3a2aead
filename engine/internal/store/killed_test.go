package store

import (
	"errors"
	"log/slog"
	"os"
	"testing"
)

// reopened is a store as the next process finds it when this one is killed now: what
// has been written is there, but nothing was closed.
func reopened(t *testing.T, dir string) *Store {
	t.Helper()
	left := t.TempDir()
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Config{Dir: left, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// What was replaced and then removed does not come back when the process is killed: a
// retry that was delivered would be delivered again, and a call that has its outcome
// get another one.
func TestWhatIsRemovedStaysRemovedAfterAKill(t *testing.T) {
	s := openEmbedded(t)
	for _, stream := range []string{Later, Cursors, Dead, Keys, Registry} {
		subject := s.Subject(stream, "0", "removed", "1")
		put := func(subject, data string) uint64 {
			seq, err := s.PutWait(t.Context(), Put{Subject: subject, Data: []byte(data)})
			if err != nil {
				t.Fatal(err)
			}
			return seq
		}
		put(s.Subject(stream, "0", "kept", "1"), "first")
		put(subject, "first")
		last := put(subject, "second")
		if err := s.PurgeWait(t.Context(), stream, subject, last+1); err != nil {
			t.Fatal(err)
		}
		put(s.Subject(stream, "0", "kept", "1"), "second")
	}

	after := reopened(t, s.c.Dir)
	for _, stream := range []string{Later, Cursors, Dead, Keys, Registry} {
		m, err := after.Last(t.Context(), stream, s.Subject(stream, "0", "removed", "1"))
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %+v %v, want nothing", stream, m, err)
		}
		counts, err := after.Counts(t.Context(), stream, s.Subject(stream, "0", "*", "*"))
		if err != nil || len(counts) != 1 || counts[s.Subject(stream, "0", "kept", "1")] != 1 {
			t.Errorf("%s holds %v %v, want one message on one subject", stream, counts, err)
		}
	}
}
