package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// The tests' tokens.
const (
	shopToken   = "shop-token-of-the-tests"   // may everything
	mobileToken = "mobile-token-of-the-tests" // may little
)

// fixture is a bridge with backends in memory, the real engine, real callbacks and
// a frontend that listens on loopback.
type fixture struct {
	t        testing.TB
	URL      string
	front    *Frontend
	bridge   *core.Bridge
	work     *engine.Engine
	calls    *Callbacks
	wamp     *memory
	tokens   atomic.Pointer[core.Tokens]
	notReady atomic.Bool
	log      *logBuffer
}

type setup struct {
	limits    Limits
	callbacks CallbackOptions
	reload    func(context.Context) error
}

func newFixture(t testing.TB, with setup) *fixture {
	t.Helper()
	f := &fixture{t: t, log: &logBuffer{}, wamp: newMemory()}
	f.wamp.own = procedures()
	log := slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	o := with.callbacks
	o.Log, o.DefaultBackend, o.Version = log, "wamp", "1.2.3"
	if o.Allow == nil {
		o.Allow = loopback()
	}
	var err error
	if f.calls, err = NewCallbacks(o); err != nil {
		t.Fatal(err)
	}
	f.work = engine.New(engine.Options{
		Sender: f.calls, Log: log, Dir: t.TempDir(),
		Call: func(ctx context.Context, c *core.Call) (*core.Result, error) { return f.bridge.Call(ctx, c) },
		Gone: func(ctx context.Context, s *core.Subscription) {
			_, _ = f.bridge.Unsubscribe(ctx, s.Owner, []core.Pattern{s.Pattern})
		},
	})
	if err := f.work.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.bridge = core.NewBridge(core.BridgeOptions{DefaultBackend: "wamp", Deliverer: f.work, Registry: f.work.Registry(), Invoker: f.calls, Log: log})
	f.bridge.SetBackend("wamp", f.wamp, canAll())
	f.bridge.SetBackend("irc", newMemory(), core.Info{Kind: "irc", Can: core.Capabilities{Publish: true, Subscribe: []core.Match{core.Exact}}})
	f.bridge.SetBackend("mute", newMemory(), core.Info{Kind: "mute"})
	down, slow := newMemory(), newMemory()
	down.down = core.Errorf(core.Unavailable, "the router is away")
	slow.block = true
	f.bridge.SetBackend("down", down, canAll())
	f.bridge.SetBackend("slow", slow, canAll())
	f.setTokens(map[string][]string{shopToken: {"*"}, mobileToken: {"call:com.shop.*", "publish:com.shop.*", "subscribe:com.shop.*.created", "register:com.mobile.*"}})
	f.front, err = New(Options{
		Bridge: f.bridge, Work: f.work, Callbacks: f.calls, Tokens: f.tokens.Load, Log: log, Limits: with.limits, Version: "1.2.3", Reload: with.reload,
		Ready: func() error {
			if f.notReady.Load() {
				return core.Errorf(core.Unavailable, "backend wamp is connecting")
			}
			return nil
		},
		Processes: func() map[string]Process {
			return map[string]Process{"wamp": {PID: 4711, Restarts: 2, Started: time.Unix(0, 0).UTC()}}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.URL = "http://" + l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- f.front.Serve(l, nil) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = f.front.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Error(err)
		}
		ended, stop := context.WithCancel(context.Background())
		stop()
		_ = f.work.Close(ended)
		_ = f.bridge.Close(ctx)
		f.calls.Close()
	})
	return f
}

func loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

// setTokens replaces the tokens: text → scopes. A token's name is its text up to
// the first hyphen.
func (f *fixture) setTokens(scopes map[string][]string) {
	f.t.Helper()
	var list []*core.Token
	for text, allow := range scopes {
		grants, err := core.ParseGrants(allow, "wamp")
		if err != nil {
			f.t.Fatal(err)
		}
		name, _, _ := strings.Cut(text, "-")
		list = append(list, &core.Token{Name: name, Hash: core.HashToken(text), Grants: grants})
	}
	tokens, err := core.NewTokens(list)
	if err != nil {
		f.t.Fatal(err)
	}
	f.tokens.Store(tokens)
}

// do sends one request with the shop's token.
func (f *fixture) do(method, path, body string) (int, string) {
	f.t.Helper()
	return f.as(shopToken, method, path, body)
}

// publish publishes an event of nobody's under an ID.
func (f *fixture) publish(id, topic string) {
	f.t.Helper()
	e := &core.Event{ID: id, Topic: core.Address{Backend: "wamp", Name: topic}, Payload: core.Payload{Args: json.RawMessage(`[1]`)}}
	if err := f.bridge.Publish(f.t.Context(), e); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) as(token, method, path, body string) (int, string) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, f.URL+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// want is do, and a check of the status.
func (f *fixture) want(status int, method, path, body string) string {
	f.t.Helper()
	got, answer := f.do(method, path, body)
	if got != status {
		f.t.Fatalf("%s %s: %d %s, want %d", method, path, got, answer, status)
	}
	return answer
}

// app is a web application whose handler the test gives. It records what it got.
type app struct {
	*httptest.Server
	got chan received
}

type received struct {
	header http.Header
	path   string
	body   string
}

func newApp(t testing.TB, answer http.HandlerFunc) *app {
	t.Helper()
	a := &app{got: make(chan received, 1000)}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		a.got <- received{header: r.Header.Clone(), path: r.URL.Path, body: string(body)}
		if answer != nil {
			answer(w, r)
		}
	}))
	t.Cleanup(a.Close)
	return a
}

// next is the next callback that the app received.
func (a *app) next(t testing.TB) received {
	t.Helper()
	select {
	case r := <-a.got:
		return r
	case <-time.After(30 * time.Second):
		t.Fatal("no callback arrived")
		return received{}
	}
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
