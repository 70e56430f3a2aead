package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/anybridge/anybridge/core"
)

// The test binary plays three parts: the tests; with roleEnv "plugin" a backend
// under Serve; with "host" a bridge that is going to be killed.
const roleEnv = "PLUGINS_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "plugin":
		Serve(func(env Env) core.Backend { return newTestBackend(env) })
	case "host":
		playHost()
	default:
		os.Exit(m.Run())
	}
}

// testSpec runs this very binary as the plugin.
func testSpec(t testing.TB) Spec {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Spec{Name: "test", Command: []string{self}, Env: []string{
		roleEnv + "=plugin",
		"GORACE=atexit_sleep_ms=0", // a process under -race otherwise takes a second to exit
	}}
}

// launch starts the test backend. At the end of the test it is closed, and nothing
// may be left of it.
func launch(t testing.TB, change ...func(*Spec)) (*Plugin, *records) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	spec, logged := testSpec(t), &records{}
	for _, f := range change {
		f(&spec)
	}
	p, err := Launch(t.Context(), spec, slog.New(logged))
	if err != nil {
		t.Fatalf("Launch: %v", err)
	}
	t.Cleanup(func() {
		closePlugin(t, p)
		goleak.VerifyNone(t, before)
		if t.Failed() {
			t.Log(logged.String())
		}
	})
	return p, logged
}

func closePlugin(t testing.TB, p *Plugin) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// patience is how long a test waits for what must happen; only a failing one uses it up.
const patience = 30 * time.Second

// eventually waits until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func name(s string) core.Address { return core.Address{Backend: "test", Name: s} }

func exact(s string) core.Pattern { return core.Pattern{Address: name(s), Match: core.Exact} }

func call(ctx context.Context, p core.Backend, procedure, args string) (string, error) {
	r, err := p.Call(ctx, &core.Call{Procedure: name(procedure), Payload: core.Payload{Args: json.RawMessage(args)}})
	if err != nil {
		return "", err
	}
	return string(r.Args), nil
}

func mustCall(t testing.TB, p core.Backend, procedure, args string) string {
	t.Helper()
	r, err := call(patient(t), p, procedure, args)
	if err != nil {
		t.Fatalf("call %s: %v", procedure, err)
	}
	return r
}

func counter(t testing.TB, p core.Backend, name string) int64 {
	t.Helper()
	s, err := p.Status(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	return s.Counters[name]
}

func wantCode(t testing.TB, err error, code core.Code) {
	t.Helper()
	if core.CodeOf(err) != code {
		t.Fatalf("got error %v (%s), want code %s", err, core.CodeOf(err), code)
	}
}

// nextEvents takes n events.
func nextEvents(t testing.TB, s core.Stream[*core.Event], n int) []*core.Event {
	t.Helper()
	var all []*core.Event
	for len(all) < n {
		events, err := s.Next(patient(t))
		if err != nil {
			t.Fatalf("after %d events: %v", len(all), err)
		}
		all = append(all, events...)
	}
	return all
}

// alive reports whether a process is there and no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return rest != "" && rest[0] != 'Z' && rest[0] != 'X'
}

func kill9(t testing.TB, pid int) {
	t.Helper()
	if pid <= 1 {
		t.Fatalf("no process to kill: pid %d", pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
}

// records is a log that can be looked at.
type records struct {
	mu    sync.Mutex
	list  []slog.Record
	attrs []slog.Attr
	root  *records
}

func (r *records) Enabled(context.Context, slog.Level) bool { return true }

func (r *records) Handle(_ context.Context, record slog.Record) error {
	record = record.Clone()
	record.AddAttrs(r.attrs...)
	root := r
	if r.root != nil {
		root = r.root
	}
	root.mu.Lock()
	defer root.mu.Unlock()
	root.list = append(root.list, record)
	return nil
}

func (r *records) WithAttrs(attrs []slog.Attr) slog.Handler {
	root := r
	if r.root != nil {
		root = r.root
	}
	return &records{root: root, attrs: append(append([]slog.Attr{}, r.attrs...), attrs...)}
}

func (r *records) WithGroup(string) slog.Handler { panic("not needed") }

// find returns the first record with that message, or nil.
func (r *records) find(message string) *slog.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, record := range r.list {
		if record.Message == message {
			return &record
		}
	}
	return nil
}

func (r *records) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	h := slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug - 4})
	for _, record := range r.list {
		_ = h.Handle(context.Background(), record)
	}
	return b.String()
}

func attr(record *slog.Record, key string) (v slog.Value) {
	record.Attrs(func(a slog.Attr) bool {
		if a.Key == key {
			v = a.Value
		}
		return a.Key != key
	})
	return v
}

// fields is all that crosses the wire of an error, for comparison.
func fields(err error) string {
	e := core.AsError(err)
	return fmt.Sprintf("%s|%s|%s|%s|%s|%s", e.Code, e.Message, e.URI, e.Args, e.Kwargs, e.RetryAfter)
}

func unavailable(err error) bool {
	e, ok := errors.AsType[*core.Error](err)
	return ok && e.Code == core.Unavailable
}
