package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	rest "github.com/anybridge/anybridge/adapters/http"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// opened is a log of a test. What it cannot write is in failed.
func opened(t *testing.T, o Options) (l *Log, failed *bytes.Buffer) {
	t.Helper()
	if o.File == "" {
		o.File = filepath.Join(t.TempDir(), "audit.log")
	}
	failed = &bytes.Buffer{}
	o.Log = slog.New(slog.NewTextHandler(failed, nil))
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l, failed
}

func (l *Log) mustClose(t *testing.T) {
	t.Helper()
	if err := l.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// addresses reads the addresses in a file, which must be complete lines.
func addresses(t *testing.T, path string) (out []string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var e rest.AuditEntry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Errorf("line %q: %v", lines.Text(), err)
		}
		out = append(out, e.Address)
	}
	return out
}

func TestWrite(t *testing.T) {
	l, failed := opened(t, Options{})
	l.Write(rest.AuditEntry{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Token: "shop", TokenID: "abcdefgh", Remote: "192.0.2.7",
		Action: "register", Address: "wamp:com.shop.add", Match: "exact", URL: "https://shop.example/a?b&c", Outcome: "ok",
	})
	// It is there before anything else happens.
	got, err := os.ReadFile(l.o.File)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"time":"2026-01-02T03:04:05Z","token":"shop","token_id":"abcdefgh","remote":"192.0.2.7","action":"register","address":"wamp:com.shop.add","match":"exact","url":"https://shop.example/a?b&c","outcome":"ok"}` + "\n"
	if string(got) != want {
		t.Errorf("got  %swant %s", got, want)
	}
	if info, err := os.Stat(l.o.File); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	l.mustClose(t)
	l.Write(rest.AuditEntry{Token: "late"})
	if !strings.Contains(failed.String(), "closed") || !strings.Contains(failed.String(), "late") {
		t.Errorf("the bridge's log has %s", failed)
	}
}

// The next start goes on where the former one ended, even in the middle of a line.
func TestAppend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte(`{"address":"a"}`+"\n"+`{"address":"b"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	l, _ := opened(t, Options{File: path})
	l.Write(rest.AuditEntry{Address: "c"})
	l.mustClose(t)
	if got := strings.Join(addresses(t, path), " "); got != "a b c" {
		t.Errorf("got %s", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// From many goroutines, nothing is lost, and nobody's own order is changed.
func TestConcurrentWrites(t *testing.T) {
	l, failed := opened(t, Options{})
	const writers, each = 50, 40
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				l.Write(rest.AuditEntry{Address: fmt.Sprintf("%d %d", w, i)})
			}
		})
	}
	wg.Wait()
	l.mustClose(t)
	next := map[int]int{}
	for _, a := range addresses(t, l.o.File) {
		var w, i int
		if _, err := fmt.Sscan(a, &w, &i); err != nil || next[w] != i {
			t.Fatalf("after %d of %d: %s (%v)", next[w], w, a, err)
		}
		next[w]++
	}
	for w := range writers {
		if next[w] != each {
			t.Errorf("%d of writer %d", next[w], w)
		}
	}
	if failed.Len() > 0 {
		t.Error(failed)
	}
}

func TestRotation(t *testing.T) {
	l, failed := opened(t, Options{MaxSize: 1000, Keep: 2})
	for i := range 100 {
		l.Write(rest.AuditEntry{Address: fmt.Sprint(i)})
	}
	l.mustClose(t)
	var all []string
	for _, suffix := range []string{".2", ".1", ""} {
		path := l.o.File + suffix
		info, err := os.Stat(path)
		if err != nil || info.Size() > 1000 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
		all = append(all, addresses(t, path)...)
	}
	for i, a := range all {
		if want := fmt.Sprint(100 - len(all) + i); a != want {
			t.Fatalf("got %s, want %s of %v", a, want, all)
		}
	}
	if _, err := os.Stat(l.o.File + ".3"); err == nil {
		t.Error("too many files are kept")
	}
	if failed.Len() > 0 {
		t.Error(failed)
	}
}

// What cannot be written is in the bridge's log; when it can be again, it is.
func TestMishap(t *testing.T) {
	l, failed := opened(t, Options{MaxSize: 200, Keep: 2})
	inTheWay := l.o.File + ".2"
	if err := os.Mkdir(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		l.Write(rest.AuditEntry{Address: fmt.Sprint(i)})
	}
	if !strings.Contains(failed.String(), "audit entry not written") || !strings.Contains(failed.String(), `address`) {
		t.Errorf("the bridge's log has %s", failed)
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	failed.Reset()
	l.Write(rest.AuditEntry{Address: "again"})
	if failed.Len() > 0 {
		t.Error(failed)
	}
	l.mustClose(t)
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "nowhere", "audit.log"), os.DevNull} {
		if _, err := Open(Options{File: path, Log: slog.Default()}); err == nil || !strings.Contains(err.Error(), "audit") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestSlowDisk(t *testing.T) {
	var failed bytes.Buffer
	l := &Log{
		o:     Options{Patience: 10 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&failed, nil))},
		queue: make(chan *batch, 1), closing: make(chan struct{}), done: make(chan struct{}),
	}
	l.Write(rest.AuditEntry{Address: "queued"})
	l.Write(rest.AuditEntry{Address: "kept out"})
	if n := strings.Count(failed.String(), "too slow"); n != 2 || !strings.Contains(failed.String(), "kept out") {
		t.Errorf("the bridge's log has %s", &failed)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := l.Close(ctx); err == nil {
		t.Error("it is closed though nobody writes")
	}
}
