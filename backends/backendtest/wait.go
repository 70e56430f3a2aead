package backendtest

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"
)

// patient is a context for what must happen: only a failing test uses it up.
func (s *suite) patient(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until ok holds; what says what it waited for in vain.
func (s *suite) eventually(t testing.TB, ok func() bool, what func() string) {
	t.Helper()
	pause := time.Millisecond
	for deadline := time.Now().Add(s.Patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s: %s", s.Patience, what())
		}
		time.Sleep(pause)
		pause = min(2*pause, 50*time.Millisecond)
	}
}

// returns runs f, which must come back in time.
func (s *suite) returns(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(s.Patience):
		t.Fatalf("%s does not return", what)
	}
}

// logbook keeps what the backends log.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
	slog.Handler
}

// Enabled implements slog.Handler.
func (*logbook) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (l *logbook) Handle(ctx context.Context, r slog.Record) error {
	return l.handler().Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (l *logbook) WithAttrs(attrs []slog.Attr) slog.Handler { return l.handler().WithAttrs(attrs) }

// WithGroup implements slog.Handler.
func (l *logbook) WithGroup(name string) slog.Handler { return l.handler().WithGroup(name) }

func (l *logbook) handler() slog.Handler {
	return slog.NewTextHandler(writer{l}, &slog.HandlerOptions{Level: slog.LevelDebug})
}

// writer is the logbook as an io.Writer. What is beyond the bound is left out.
type writer struct{ book *logbook }

const logBound = 64 << 20

func (w writer) Write(p []byte) (int, error) {
	w.book.mu.Lock()
	defer w.book.mu.Unlock()
	if w.book.text.Len() < logBound {
		w.book.text.Write(p)
	}
	return len(p), nil
}

func (l *logbook) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Len()
}

// since is what was logged after the book had length mark, but no more than is
// good for reading.
func (l *logbook) since(mark int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.text.Bytes()[mark:]
	const most = 8 << 10
	if len(text) > most {
		return "…" + string(text[len(text)-most:])
	}
	return string(text)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
