package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// TestCallbackGolden compares what the bridge sends with testdata/callbacks.
func TestCallbackGolden(t *testing.T) {
	a := newApp(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	c := newCallbacks(t, CallbackOptions{Policy: Policy{Allow: loopback()}, Version: "1.2.3"})
	payload := core.Payload{Args: json.RawMessage(`[9007199254740993, "\u2028"]`), Kwargs: json.RawMessage(`{"z": 1, "a": null}`)}
	procedure := core.Address{Backend: "wamp", Name: "com.shop.add2"}
	send := func(a *engine.Attempt) {
		if out := c.Send(context.Background(), a); !out.Done || out.Status != http.StatusNoContent || out.Latency <= 0 {
			t.Errorf("got %+v", out)
		}
	}
	endpoint := &core.Endpoint{URL: a.URL + "/hook", Keys: []core.Secret{DeriveKey(shopToken)}}
	hook, err := standardwebhooks.NewWebhookRaw(DeriveKey(shopToken))
	if err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func(){
		"event": func() {
			send(&engine.Attempt{ID: "evt_1-sub_1", Endpoint: endpoint, Event: &core.Event{
				ID: "evt_1", Topic: core.Address{Backend: "irc", Name: "#ops \"quoted\""}, Payload: payload,
				Time: time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.FixedZone("", 3600)), Details: json.RawMessage(`{"nick": "bob"}`),
			}})
		},
		"event-empty": func() {
			send(&engine.Attempt{ID: "evt_1-sub_1", Endpoint: endpoint, Event: &core.Event{ID: "evt_1", Topic: procedure}})
		},
		"result": func() {
			send(&engine.Attempt{ID: "call_1", Endpoint: endpoint, Result: &engine.AsyncResult{CallID: "call_1", Procedure: procedure, Result: &core.Result{Payload: payload}}})
		},
		"error": func() {
			send(&engine.Attempt{ID: "call_1", Endpoint: endpoint, Result: &engine.AsyncResult{CallID: "call_1", Procedure: procedure, Err: &core.Error{
				Code: core.Application, URI: "com.shop.sold_out", Message: "there are none left", Payload: payload,
			}}})
		},
		"error-timeout": func() {
			send(&engine.Attempt{ID: "call_1", Endpoint: endpoint, Result: &engine.AsyncResult{CallID: "call_1", Procedure: procedure, Err: core.AsError(context.DeadlineExceeded)}})
		},
		"error-internal": func() {
			send(&engine.Attempt{ID: "call_1", Endpoint: endpoint, Result: &engine.AsyncResult{CallID: "call_1", Procedure: procedure, Err: core.AsError(errors.New("map of nil at 10.0.0.7"))}})
		},
		"invocation": func() {
			result, err := c.Invoke(context.Background(), registration(a.URL+"/rpc"), &core.Invocation{
				ID: "inv_1", Procedure: procedure, Payload: payload, Details: json.RawMessage(`{"caller": 7}`),
			})
			if err != nil || string(result.Args) != "[null]" || result.Kwargs != nil {
				t.Errorf("got %+v, %v", result, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			do()
			got := a.next(t)
			if err := hook.Verify([]byte(got.body), got.header); err != nil {
				t.Error(err)
			}
			var b strings.Builder
			fmt.Fprintf(&b, "POST %s HTTP/1.1\n", got.path)
			got.header.Set("Webhook-Timestamp", "…")
			got.header.Set("Webhook-Signature", regexp.MustCompile(`^v1,[A-Za-z0-9+/]{43}=$`).ReplaceAllString(got.header.Get("Webhook-Signature"), "v1,…"))
			got.header.Del("Content-Length")
			_ = got.header.Write(&b)
			text := strings.ReplaceAll(b.String(), "\r\n", "\n") + "\n" + got.body + "\n"
			file := filepath.Join("testdata", "callbacks", name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil || text != string(want) {
				t.Errorf("not what %s says: %v; got:\n%s", file, err, text)
			}
			if !json.Valid([]byte(got.body)) {
				t.Error("the body is not JSON")
			}
		})
	}
}

// answers is every kind of answer to an invocation and what becomes of it.
func TestInvocationAnswers(t *testing.T) {
	type header = map[string]string
	const problem, result = "application/problem+json", "application/vnd.anybridge.result+json; charset=utf-8"
	for _, tt := range []struct {
		name   string
		status int
		header header
		body   string
		args   string // of the result
		kwargs string
		err    *core.Error
	}{
		{"value", 200, nil, ` {"a": 9007199254740993} `, `[ {"a": 9007199254740993} ]`, "", nil},
		{"list", 200, nil, `[1, 2]`, `[[1, 2]]`, "", nil},
		{"null", 200, nil, `null`, `[null]`, "", nil},
		{"created", 201, nil, `5`, `[5]`, "", nil},
		{"byte order mark", 200, nil, "\ufeff5", `[5]`, "", nil},
		{"no content", 204, nil, ``, `[null]`, "", nil},
		{"empty", 200, nil, " \n", `[null]`, "", nil},
		{"full result", 200, header{"Content-Type": result}, `{"args": [1, 2], "kwargs": {"a": null}}`, `[1, 2]`, `{"a": null}`, nil},
		{"full result of nothing", 200, header{"Content-Type": result}, `{}`, ``, ``, nil},
		{"wrong full result", 200, header{"Content-Type": result}, `{"arg": [1]}`, "", "", &core.Error{Code: core.CallbackFailed, Message: `did you mean "args"?`}},
		{"full result with a wrong type", 200, header{"Content-Type": result}, `{"args": {}}`, "", "", &core.Error{Code: core.CallbackFailed, Message: `args: want a list`}},
		{"no JSON", 200, header{"Content-Type": "text/html"}, "<p>\r\nhello \x00\x1b[31m\xff", "", "", &core.Error{Code: core.CallbackFailed, Message: "answered 200 with something that is not JSON: <p> hello [31m"}},
		{"two values", 200, nil, `1 2`, "", "", &core.Error{Code: core.CallbackFailed, Message: "not JSON"}},
		{"not UTF-8", 200, nil, "\"\xff\"", "", "", &core.Error{Code: core.CallbackFailed, Message: "not JSON"}},
		{"application error", 500, header{"Content-Type": problem}, `{"error": "com.shop.sold_out", "detail": "none left", "args": [1], "kwargs": {"a": 1}, "status": 500, "x": [{}]}`, "", "",
			&core.Error{Code: core.Application, URI: "com.shop.sold_out", Message: "none left", Payload: core.Payload{Args: json.RawMessage(`[1]`), Kwargs: json.RawMessage(`{"a": 1}`)}}},
		{"application error under 404", 404, header{"Content-Type": problem}, `{"error": "com.shop.sold_out"}`, "", "", &core.Error{Code: core.Application, URI: "com.shop.sold_out"}},
		{"problem without error", 400, header{"Content-Type": problem}, `{"detail": "no"}`, "", "", &core.Error{Code: core.CallbackFailed, Message: `answered 400: {"detail": "no"}`}},
		{"problem with a wrong error", 400, header{"Content-Type": problem}, `{"error": 5}`, "", "", &core.Error{Code: core.CallbackFailed}},
		{"problem with an impossible error", 400, header{"Content-Type": problem}, `{"error": "a\nb"}`, "", "", &core.Error{Code: core.CallbackFailed}},
		{"not found", 404, nil, `<h1>Not found</h1>`, "", "", &core.Error{Code: core.NoSuchProcedure, Message: "no procedure com.shop.p"}},
		{"too many", 429, header{"Retry-After": "3"}, ``, "", "", &core.Error{Code: core.Unavailable, RetryAfter: 3 * time.Second}},
		{"unavailable", 503, nil, ``, "", "", &core.Error{Code: core.Unavailable}},
		{"server error", 500, nil, strings.Repeat("x", 300), "", "", &core.Error{Code: core.CallbackFailed, Message: "answered 500: " + strings.Repeat("x", 200) + " …"}},
		{"redirect", 302, header{"Location": "/elsewhere"}, ``, "", "", &core.Error{Code: core.CallbackFailed, Message: "answered 302; redirects are not followed"}},
		{"too long", 200, nil, `"` + strings.Repeat("x", 1000) + `"`, "", "", &core.Error{Code: core.CallbackFailed, Message: "the answer is too long"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newApp(t, func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range tt.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			})
			c := newCallbacks(t, CallbackOptions{Policy: Policy{Allow: loopback()}, MaxResponse: 1000})
			got, err := c.Invoke(context.Background(), registration(a.URL), invocation())
			if len(a.got) != 1 {
				t.Errorf("%d requests arrived", len(a.got))
			}
			if tt.err == nil {
				if err != nil || string(got.Args) != tt.args || string(got.Kwargs) != tt.kwargs {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			e := core.AsError(err)
			if e == nil || e.Code != tt.err.Code || e.URI != tt.err.URI || !strings.Contains(e.Message, tt.err.Message) || e.RetryAfter != tt.err.RetryAfter ||
				string(e.Args) != string(tt.err.Args) || string(e.Kwargs) != string(tt.err.Kwargs) {
				t.Errorf("got %+v, want %+v", e, tt.err)
			}
		})
	}
}

func TestInvocationsThatGetNoAnswer(t *testing.T) {
	release := make(chan struct{})
	arrived := make(chan struct{}, 10)
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer hanging.Close()
	defer close(release)
	c := newCallbacks(t, CallbackOptions{Policy: Policy{Allow: loopback()}})

	r := registration(hanging.URL)
	r.Endpoint.Timeout = 20 * time.Millisecond
	_, err := c.Invoke(context.Background(), r, invocation())
	if core.CodeOf(err) != core.Timeout || !strings.Contains(err.Error(), "within 20ms") {
		t.Errorf("endpoint's timeout: %v", err)
	}
	<-arrived
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	if _, err := c.Invoke(ctx, registration(hanging.URL), invocation()); core.CodeOf(err) != core.Timeout {
		t.Errorf("caller's timeout: %v", err)
	}
	cancel()
	<-arrived
	ctx, cancel = context.WithCancel(context.Background())
	go func() {
		<-arrived
		cancel()
	}()
	if _, err := c.Invoke(ctx, registration(hanging.URL), invocation()); core.CodeOf(err) != core.Canceled {
		t.Errorf("caller's cancel: %v", err)
	}

	closed := httptest.NewServer(nil)
	closed.Close()
	_, err = c.Invoke(context.Background(), registration(closed.URL), invocation())
	if core.CodeOf(err) != core.CallbackFailed || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("no listener: %v", err)
	}
	rude := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
	}))
	defer rude.Close()
	if _, err = c.Invoke(context.Background(), registration(rude.URL), invocation()); core.CodeOf(err) != core.CallbackFailed || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("hung up: %v", err)
	}
}

func TestSendOutcomes(t *testing.T) {
	for _, tt := range []struct {
		status     int
		retryAfter string
		want       engine.Outcome
		code       core.Code
	}{
		{200, "", engine.Outcome{Done: true}, ""},
		{202, "", engine.Outcome{Done: true}, ""},
		{204, "", engine.Outcome{Done: true}, ""},
		{410, "", engine.Outcome{Gone: true}, ""},
		{429, "120", engine.Outcome{RetryAfter: 2 * time.Minute}, core.CallbackFailed},
		{503, "99999999999999999999", engine.Outcome{RetryAfter: maxRetryAfter}, core.CallbackFailed},
		{503, "soon", engine.Outcome{}, core.CallbackFailed},
		{500, "120", engine.Outcome{}, core.CallbackFailed},
		{404, "", engine.Outcome{}, core.CallbackFailed},
		{301, "", engine.Outcome{}, core.CallbackFailed},
	} {
		a := newApp(t, func(w http.ResponseWriter, _ *http.Request) {
			if tt.retryAfter != "" {
				w.Header().Set("Retry-After", tt.retryAfter)
			}
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(tt.status)
		})
		c := newCallbacks(t, CallbackOptions{Policy: Policy{Allow: loopback()}})
		got := c.Send(context.Background(), eventAttempt(a.URL))
		if got.Done != tt.want.Done || got.Gone != tt.want.Gone || got.Ours || got.RetryAfter != tt.want.RetryAfter || got.Status != tt.status || core.CodeOf(got.Err) != tt.code {
			t.Errorf("%d: got %+v", tt.status, got)
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	c := newCallbacks(t, CallbackOptions{Policy: Policy{Allow: loopback()}})
	if got := c.Send(ended, eventAttempt("http://127.0.0.1:1/")); !got.Ours {
		t.Errorf("an attempt cut off by our shutdown counts: %+v", got)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, " 7 ": 7 * time.Second, "-1": 0, "1.5": 0, "86401": maxRetryAfter, "9223372036854775808": maxRetryAfter,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Fri, 02 Jan 2025 03:05:05 GMT": 0, "Fri, 02 Jan 2099 03:05:05 GMT": maxRetryAfter,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("retryAfter(%q) = %s, want %s", value, got, want)
		}
	}
}

// An event whose kept connection the app has closed is sent again at once.
func TestEventsSurviveClosedConnections(t *testing.T) {
	var conns atomic.Int64
	closing := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		// The second request on a connection finds it closed.
		if n := r.Context().Value(connKey{}).(*atomic.Int64).Add(1); n > 1 {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				conn.Close()
			}
		}
	}))
	closing.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		conns.Add(1)
		return context.WithValue(ctx, connKey{}, new(atomic.Int64))
	}
	closing.Start()
	defer closing.Close()
	c := newCallbacks(t, CallbackOptions{Policy: Policy{Allow: loopback()}})
	for range 3 {
		if out := c.Send(context.Background(), eventAttempt(closing.URL)); !out.Done {
			t.Errorf("got %+v", out)
		}
	}
	if conns.Load() < 2 {
		t.Errorf("%d connections", conns.Load())
	}
}

type connKey struct{}

func TestGatesBoundEachHostAndAll(t *testing.T) {
	g := newGates(2, 3)
	ctx := context.Background()
	must := func(host string) {
		t.Helper()
		if err := g.enter(ctx, host, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	must("a")
	must("a")
	if err := g.enter(ctx, "a", time.Millisecond); !errors.Is(err, errBusy) {
		t.Errorf("third to a: %v", err)
	}
	must("b")
	if err := g.enter(ctx, "c", time.Millisecond); !errors.Is(err, errBusy) {
		t.Errorf("fourth of all: %v", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if err := g.enter(canceled, "a", time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	got := make(chan error)
	go func() { got <- g.enter(ctx, "a", time.Minute) }()
	g.leave("a")
	if err := <-got; err != nil {
		t.Error(err)
	}
	g.leave("a")
	g.leave("a")
	g.leave("b")
	if len(g.hosts) != 0 || len(g.all) != 0 {
		t.Errorf("left behind: %v, %d", g.hosts, len(g.all))
	}
}

func TestGatesUnderLoad(t *testing.T) {
	const perHost, all = 4, 6
	g := newGates(perHost, all)
	var now [3]atomic.Int64
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			host := i % 3
			patience := time.Minute
			if i%5 == 0 {
				patience = time.Microsecond
			}
			if g.enter(context.Background(), fmt.Sprint(host), patience) != nil {
				return
			}
			if now[host].Add(1) > perHost || now[0].Load()+now[1].Load()+now[2].Load() > all {
				t.Error("a bound was passed")
			}
			now[host].Add(-1)
			g.leave(fmt.Sprint(host))
		})
	}
	wg.Wait()
	if len(g.hosts) != 0 || len(g.all) != 0 {
		t.Errorf("left behind: %v, %d", g.hosts, len(g.all))
	}
}

// What cannot be sent for want of room uses up no attempt.
func TestBusyHost(t *testing.T) {
	release := make(chan struct{})
	a := newApp(t, func(http.ResponseWriter, *http.Request) { <-release })
	c := newCallbacks(t, CallbackOptions{Policy: Policy{Allow: loopback()}, MaxPerHost: 1})
	done := make(chan engine.Outcome)
	go func() { done <- c.Send(context.Background(), eventAttempt(a.URL)) }()
	a.next(t)
	second := eventAttempt(a.URL)
	second.Endpoint.Timeout = 10 * time.Millisecond
	if out := c.Send(context.Background(), second); !out.Ours {
		t.Errorf("got %+v", out)
	}
	r := registration(a.URL)
	r.Endpoint.Timeout = 10 * time.Millisecond
	if _, err := c.Invoke(context.Background(), r, invocation()); core.CodeOf(err) != core.TooMany {
		t.Errorf("got %v", err)
	}
	close(release)
	if out := <-done; !out.Done {
		t.Errorf("got %+v", out)
	}
}

func TestNewCallbacksRefuses(t *testing.T) {
	if _, err := NewCallbacks(CallbackOptions{}); err == nil {
		t.Error("no log")
	}
}
