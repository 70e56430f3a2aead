package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins"
)

// memory is a third-party backend: a message system that is nothing but memory.
// The test binary serves it when a bridge runs it without arguments.
type memory struct {
	mu   sync.Mutex
	subs map[core.Pattern]*core.Pipe[*core.Event]
	regs map[core.Pattern]*core.Pipe[*core.Invocation]
}

var _ core.Backend = (*memory)(nil)

func newMemory(plugins.Env) core.Backend {
	return &memory{subs: map[core.Pattern]*core.Pipe[*core.Event]{}, regs: map[core.Pattern]*core.Pipe[*core.Invocation]{}}
}

// Open takes only configurations with a colour, which is its kind.
func (m *memory) Open(_ context.Context, config json.RawMessage) (core.Info, error) {
	var c struct{ Colour string }
	if err := json.Unmarshal(config, &c); err != nil || c.Colour == "" {
		return core.Info{}, core.Errorf(core.InvalidArgument, "colour is missing")
	}
	exact := []core.Match{core.Exact}
	return core.Info{Kind: c.Colour, Can: core.Capabilities{Publish: true, Subscribe: exact, Call: true, Register: exact}}, nil
}

// Publish has nobody to tell: what the bridge publishes does not come back.
func (m *memory) Publish(context.Context, *core.Event) error { return nil }

func (m *memory) Subscribe(_ context.Context, p core.Pattern) (core.Stream[*core.Event], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.subs[p] = core.NewPipe[*core.Event](1000, 0, nil)
	return m.subs[p], nil
}

func (m *memory) Call(ctx context.Context, c *core.Call) (*core.Result, error) {
	type answer struct {
		result *core.Result
		err    error
	}
	answers := make(chan answer, 1)
	m.mu.Lock()
	r := m.regs[core.Pattern{Address: c.Procedure, Match: core.Exact}]
	m.mu.Unlock()
	if r == nil || !r.TryPut(&core.Invocation{ID: "1", Procedure: c.Procedure, Payload: c.Payload, Reply: func(result *core.Result, err error) {
		select {
		case answers <- answer{result, err}:
		default:
		}
	}}, 1) {
		return nil, core.Errorf(core.NoSuchProcedure, "no procedure %s", c.Procedure)
	}
	select {
	case a := <-answers:
		return a.result, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memory) Register(_ context.Context, p core.Pattern, _ core.RegisterOptions) (core.Stream[*core.Invocation], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.regs[p] = core.NewPipe[*core.Invocation](1000, 0, nil)
	return m.regs[p], nil
}

func (m *memory) Status(context.Context) (core.Status, error) {
	return core.Status{State: core.Up}, nil
}

func (m *memory) Close(context.Context) error { return nil }

func TestThirdPartyPlugin(t *testing.T) {
	// A relative path belongs to the folder of the configuration.
	dir := t.TempDir()
	program, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, filepath.Join(dir, "my-plugin")); err != nil {
		t.Fatal(err)
	}
	tokens := map[string]string{"shop": everything(shopToken)}
	with := func(line string) string { return configuration(tokens, "mine: "+line) }
	a := newTestAppIn(t, dir, with("{plugin: ./my-plugin, config: {colour: red}}"))
	a.start()
	web := newWebApp(t, `"yes"`)
	a.post("/register/", shopToken, `{"endpoints": {"mine:p": "`+web.URL+`", "p": "`+web.URL+`"}}`, 200)
	a.post("/subscribe/", shopToken, `{"endpoints": {"mine:t": "`+web.URL+`"}}`, 200)
	works := func() {
		t.Helper()
		a.post("/call/mine:p/", shopToken, `{}`, 200)
		receive(t, "invocation", web.got)
		a.post("/publish/mine:t/", shopToken, `{}`, 200)
		if body := receive(t, "event", web.got); !strings.Contains(body, `"mine:t"`) {
			t.Errorf("event %s", body)
		}
	}
	works()
	before := a.pids()

	// Another section: the process goes on.
	a.mustConfigure(with("{plugin: ./my-plugin, config: {colour: blue}}"))
	if now := a.pids(); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("processes %v, were %v", now, before)
	}
	if kind := a.bridge.Backends()[0].Info.Kind; kind != "blue" {
		t.Errorf("kind %s", kind)
	}
	works()

	// A section that the plugin refuses: nothing changes.
	if err := a.configure(with("{plugin: ./my-plugin, config: {size: 1}}")); err == nil || !strings.Contains(err.Error(), "colour is missing") {
		t.Errorf("reload: %v", err)
	}
	works()

	// Another checksum: another process, which takes everything over.
	if err := a.configure(with("{plugin: ./my-plugin, sha256: " + strings.Repeat("0a", 32) + ", config: {colour: blue}}")); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("reload: %v", err)
	}
	works()
	a.mustConfigure(with(fmt.Sprintf("{plugin: ./my-plugin, sha256: %q, config: {colour: blue}}", fmt.Sprintf("%x", sha256.Sum256(binary)))))
	after := a.pids()
	if after["mine"] == before["mine"] || after["wamp"] != before["wamp"] || alive(before["mine"]) {
		t.Errorf("processes %v, were %v", after, before)
	}
	works()
	if got := a.held("shop"); got != "sub mine:t, reg mine:p, reg wamp:p" {
		t.Errorf("shop holds %q", got)
	}

	// No longer there.
	a.mustConfigure(configuration(tokens))
	a.post("/call/mine:p/", shopToken, `{}`, 404)
	if got := a.held("shop"); got != "reg wamp:p" {
		t.Errorf("shop holds %q", got)
	}
}
