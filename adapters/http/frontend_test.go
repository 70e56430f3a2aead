package rest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/anybridge/anybridge/core"
)

func TestRoute(t *testing.T) {
	f := newFixture(t, setup{})
	for target, want := range map[string]string{
		"/call/com.shop.p":            "call com.shop.p",
		"/call/com.shop.p/":           "call com.shop.p",
		"/call/irc:%23ops/":           "call irc:#ops",
		"/call/irc:%23a%2Fb/":         "call irc:#a/b",
		"/call/a/b/":                  "call a/b",
		"/call/a%2F/":                 "call a/",
		"/call/a%2F%252F":             "call a/%2F",
		"/call/a%252Fb":               "call a%2Fb",
		"/call/caf%C3%A9/":            "call café",
		"/call/a%20b%3Fc":             "call a b?c",
		"/call/a+b":                   "call a+b",
		"/call/xmpp:pubsub:s@x.y%2Fn": "call xmpp:pubsub:s@x.y/n",
		"/call/":                      "call -",
		"/call":                       "call -",
		"/register":                   "register -",
		"/register/":                  "register -",
		"/register/x":                 "register x",
		"/openapi.json":               "openapi.json -",
		"/":                           "none -",
		"/nothing/x":                  "none -",
		"//call/x":                    "none -",
	} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		rt, name, named := f.front.route(&http.Request{URL: u})
		got := strings.Trim(rt.pattern, "/")
		got, _, _ = strings.Cut(got, "/")
		if named {
			got += " " + name
		} else {
			got += " -"
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", target, got, want)
		}
	}
}

func TestEventsReachSubscribersSigned(t *testing.T) {
	f := newFixture(t, setup{})
	a := newApp(t, nil)
	f.want(200, "POST", "/subscribe/", `{"endpoints": {"com/shop": "`+a.URL+`/hook", "com.shop": {"url": "`+a.URL+`/all", "match": "prefix"}}}`)
	answer := f.want(200, "POST", "/publish/com%2Fshop/", `{"args": [9007199254740993], "kwargs": {"z": 1, "a": 2}}`)
	got := a.next(t)
	hook, err := standardwebhooks.NewWebhookRaw(DeriveKey(shopToken))
	if err != nil {
		t.Fatal(err)
	}
	if err := hook.Verify([]byte(got.body), got.header); err != nil {
		t.Error(err)
	}
	var published struct{ ID string }
	var event struct {
		Type, ID, Topic string
		Args, Kwargs    json.RawMessage
	}
	if err := json.Unmarshal([]byte(answer), &published); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(got.body), &event); err != nil {
		t.Fatal(err)
	}
	if got.path != "/hook" || event.Type != "event" || event.ID != published.ID || event.Topic != "com/shop" || string(event.Args) != `[9007199254740993]` || string(event.Kwargs) != `{"z": 1, "a": 2}` {
		t.Errorf("got %s %s", got.path, got.body)
	}
	f.want(200, "POST", "/publish/com.shopping/", "")
	if got := a.next(t); got.path != "/all" || !strings.Contains(got.body, `"topic":"com.shopping","args":[],"kwargs":{}`) {
		t.Errorf("got %s %s", got.path, got.body)
	}
}

func TestExcludeMe(t *testing.T) {
	f := newFixture(t, setup{})
	f.setTokens(map[string][]string{shopToken: {"*"}, mobileToken: {"*"}})
	mine, theirs := newApp(t, nil), newApp(t, nil)
	f.want(200, "POST", "/subscribe/", `{"endpoints": {"t": {"url": "`+mine.URL+`"}}}`)
	f.as(mobileToken, "POST", "/subscribe/", `{"endpoints": {"t": {"url": "`+theirs.URL+`"}}}`)
	f.want(200, "POST", "/publish/t/", `{"args": [1], "exclude_me": true}`)
	f.want(200, "POST", "/publish/t/", `{"args": [2]}`)
	for range 2 {
		theirs.next(t)
	}
	if got := mine.next(t); !strings.Contains(got.body, `"args":[2]`) {
		t.Errorf("got %s", got.body)
	}
}

func TestGoneUnsubscribes(t *testing.T) {
	f := newFixture(t, setup{})
	a := newApp(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	f.want(200, "POST", "/subscribe/", `{"endpoints": {"t": "`+a.URL+`"}}`)
	f.want(200, "POST", "/publish/t/", "")
	a.next(t)
	eventually(t, func() bool { return len(f.bridge.Subscriptions("")) == 0 })
}

// eventually waits until something that happens on its own has happened.
func eventually(t testing.TB, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}

func TestUnsubscribeForgetsWhatIsOwed(t *testing.T) {
	f := newFixture(t, setup{})
	a := newApp(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	f.want(200, "POST", "/subscribe/", `{"endpoints": {"t": {"url": "`+a.URL+`", "retry": ["1h"]}}}`)
	f.want(200, "POST", "/publish/t/", "")
	a.next(t)
	eventually(t, func() bool {
		return strings.Contains(f.want(200, "GET", "/subscribe/", ""), `"failed":1,"pending":1,"last_status":500`)
	})
	f.want(200, "POST", "/unsubscribe/", `{"endpoints": ["t"]}`)
	if n := f.work.Counters()["pending_now"]; n != 0 {
		t.Errorf("%d deliveries are still owed", n)
	}
}

func TestAsyncCall(t *testing.T) {
	f := newFixture(t, setup{})
	a := newApp(t, nil)
	for procedure, want := range map[string]string{
		"com.shop.add2":  `{"type":"result","id":"ID","procedure":"com.shop.add2","args":[5],"kwargs":{}}`,
		"com.shop.buy":   `{"type":"error","id":"ID","procedure":"com.shop.buy","status":500,"error":"com.shop.sold_out","detail":"there are none left","args":["apples", 18446744073709551617],"kwargs":{"again":"tomorrow"}}`,
		"com.shop.never": `{"type":"error","id":"ID","procedure":"com.shop.never","status":404,"error":"anybridge.error.no_such_procedure","detail":"nobody has registered com.shop.never","args":[],"kwargs":{}}`,
		"com.shop.wait":  `{"type":"error","id":"ID","procedure":"com.shop.wait","status":504,"error":"anybridge.error.timeout","detail":"the deadline passed","args":[],"kwargs":{}}`,
	} {
		answer := f.want(202, "POST", "/call/"+procedure+"/", `{"args": [2, 3], "timeout": "50ms", "callback": {"url": "`+a.URL+`", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}`)
		var started struct{ ID string }
		if err := json.Unmarshal([]byte(answer), &started); err != nil {
			t.Fatal(err)
		}
		got := a.next(t)
		if body := strings.Replace(got.body, started.ID, "ID", 1); body != want {
			t.Errorf("got %s\nwant %s", body, want)
		}
		hook, err := standardwebhooks.NewWebhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
		if err != nil {
			t.Fatal(err)
		}
		if err := hook.Verify([]byte(got.body), got.header); err != nil {
			t.Error(err)
		}
	}
}

func TestHangUpCancelsTheCall(t *testing.T) {
	f := newFixture(t, setup{})
	started, canceled := make(chan struct{}), make(chan error, 1)
	f.wamp.own["com.shop.slow"] = func(ctx context.Context, _ *core.Call) (*core.Result, error) {
		close(started)
		<-ctx.Done()
		canceled <- ctx.Err()
		return nil, ctx.Err()
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	body := `{"token": "` + shopToken + `"}`
	fmt.Fprintf(conn, "POST /call/com.shop.slow/ HTTP/1.1\r\nHost: bridge\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	<-started
	conn.Close()
	if err := <-canceled; core.CodeOf(err) != core.Canceled {
		t.Errorf("got %v", err)
	}
}

// The time that a request has to arrive does not bound the call.
func TestCallsOutliveTheReadTimeout(t *testing.T) {
	const readTimeout = 50 * time.Millisecond
	f := newFixture(t, setup{limits: Limits{ReadTimeout: readTimeout}})
	f.wamp.own["com.shop.slow"] = func(ctx context.Context, _ *core.Call) (*core.Result, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(4 * readTimeout):
			return &core.Result{}, nil
		}
	}
	f.want(200, "POST", "/call/com.shop.slow/", `{}`)
}

func TestSlowClients(t *testing.T) {
	f := newFixture(t, setup{limits: Limits{ReadTimeout: time.Second}})
	for name, sent := range map[string]string{
		"header":        "POST /call/com.shop.add2/ HTTP/1.1\r\nHost: b",
		"body":          "POST /call/com.shop.add2/ HTTP/1.1\r\nHost: bridge\r\nContent-Length: 100\r\n\r\n{",
		"chunked body":  "POST /call/com.shop.add2/ HTTP/1.1\r\nHost: bridge\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
		"unread answer": "POST /nowhere/ HTTP/1.1\r\nHost: bridge\r\nContent-Length: 1000000\r\n\r\n{",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(f.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
		// The server answers or not, and closes the connection in any case.
		got, err := io.ReadAll(conn)
		if err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v", name, err)
		}
		if strings.HasSuffix(name, "body") && !strings.Contains(string(got), "did not arrive whole within 1s") {
			t.Errorf("%s: got %q", name, got)
		}
		conn.Close()
	}
	f.want(200, "POST", "/call/com.shop.add2/", `{"args": [2, 3]}`)
}

func TestChunkedBodiesAreBounded(t *testing.T) {
	f := newFixture(t, setup{limits: Limits{MaxBody: 1000}})
	for n, want := range map[int]int{900: 200, 1000: 413} {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, f.URL+"/call/com.shop.echo/", io.MultiReader(strings.NewReader(`{"args": ["`+strings.Repeat("x", n)), strings.NewReader(`"]}`)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+shopToken)
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%d bytes: got %d, want %d", n, resp.StatusCode, want)
		}
	}
}

func TestPanicsAndInternalErrorsAreLogged(t *testing.T) {
	f := newFixture(t, setup{})
	f.want(500, "POST", "/call/com.shop.panic/", "")
	f.want(500, "POST", "/call/com.shop.bug/", "")
	log := f.log.String()
	for _, want := range []string{"request handler panicked", "secret of the house", "memory_test.go", "internal error", "map of nil at 10.0.0.7"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not have %q:\n%s", want, log)
		}
	}
	if strings.Contains(log, shopToken) {
		t.Error("the log shows the token")
	}
}

func TestDebugLogShowsNoSecrets(t *testing.T) {
	f := newFixture(t, setup{})
	f.front.o.Log = slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f.want(200, "POST", "/register/", `{"token": "`+shopToken+`", "endpoints": {"com.shop.p": {"url": "http://127.0.0.1:1/?key=hidden-in-the-query", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}}`)
	f.want(502, "POST", "/call/com.shop.p/", "")
	f.do("POST", "/nowhere?token="+shopToken, "")
	// The answer is sent before the request is logged.
	eventually(t, func() bool { return strings.Contains(f.log.String(), "status=404") })
	log := f.log.String()
	for _, secret := range []string{shopToken, "hidden-in-the-query", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log shows %s:\n%s", secret, log)
		}
	}
	if !strings.Contains(log, "route=/register/ token=shop status=200") {
		t.Errorf("got %s", log)
	}
	if list := f.want(200, "GET", "/register/", ""); strings.Contains(list, "MfKQ") {
		t.Errorf("the list shows the secret: %s", list)
	}
}

// A token that is revoked while its registration is under way leaves nothing.
func TestRevokedWhileRegistering(t *testing.T) {
	f := newFixture(t, setup{})
	load := f.front.o.Tokens
	asked := 0
	f.front.o.Tokens = func() *core.Tokens {
		if asked++; asked == 2 {
			f.setTokens(map[string][]string{mobileToken: {"*"}})
		}
		return load()
	}
	if status, body := f.do("POST", "/register/", `{"endpoints": {"com.shop.p": "http://127.0.0.1:1/"}}`); status != 401 {
		t.Errorf("got %d %s", status, body)
	}
	if left := f.bridge.Registrations(""); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestOneTokenCannotTakeAllPlaces(t *testing.T) {
	f := newFixture(t, setup{limits: Limits{MaxRequests: 10, MaxRequestsPerToken: 1}})
	started := make(chan struct{})
	release := make(chan struct{})
	f.wamp.own["com.shop.slow"] = func(context.Context, *core.Call) (*core.Result, error) {
		close(started)
		<-release
		return &core.Result{}, nil
	}
	done := make(chan int)
	go func() {
		status, _ := f.do("POST", "/call/com.shop.slow/", "")
		done <- status
	}()
	<-started
	if status, body := f.do("POST", "/call/com.shop.add2/", `{"args": [2, 3]}`); status != 429 || !strings.Contains(body, "of this token") {
		t.Errorf("got %d %s", status, body)
	}
	if status, body := f.as(mobileToken, "POST", "/call/com.shop.add2/", `{"args": [2, 3]}`); status != 200 {
		t.Errorf("another token: got %d %s", status, body)
	}
	close(release)
	if status := <-done; status != 200 {
		t.Errorf("got %d", status)
	}
	eventually(t, func() bool { return f.front.admission.all.Load() == 0 })
}

func TestSharedProcedure(t *testing.T) {
	f := newFixture(t, setup{})
	f.setTokens(map[string][]string{shopToken: {"*"}, mobileToken: {"*"}})
	one := newApp(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `"one"`) })
	two := newApp(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `"two"`) })
	body := `{"endpoints": {"p": {"invoke": "roundrobin", "url": "`
	f.want(200, "POST", "/register/", body+one.URL+`"}}}`)
	if status, got := f.as(mobileToken, "POST", "/register/", body+two.URL+`"}}}`); status != 200 {
		t.Fatal(got)
	}
	got := f.want(200, "POST", "/call/p/", "") + f.want(200, "POST", "/call/p/", "")
	if !strings.Contains(got, "one") || !strings.Contains(got, "two") {
		t.Errorf("got %s", got)
	}
}

func TestMetrics(t *testing.T) {
	f := newFixture(t, setup{})
	a := newApp(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `5`) })
	f.want(200, "POST", "/register/", `{"endpoints": {"com.shop.p": "`+a.URL+`"}}`)
	f.want(200, "POST", "/call/com.shop.p/", "")
	f.want(404, "POST", "/call/com.shop.never/", "")
	var got string
	eventually(t, func() bool {
		_, got = f.as("", "GET", "/metrics", "")
		return strings.Contains(got, `anybridge_http_requests_total{route="/call/{procedure}/",status="404"} 1`) && strings.Contains(got, `{lane="0"}`)
	})
	for _, want := range []string{
		`anybridge_build_info{version="1.2.3"} 1`,
		`anybridge_http_requests_total{route="/call/{procedure}/",status="200"} 1`,
		`anybridge_http_request_seconds_count{route="/register/"} 1`,
		`anybridge_callbacks_total{kind="invocation",outcome="ok"} 1`,
		`anybridge_callback_seconds_count{kind="invocation"} 1`,
		`anybridge_calls_total{direction="in"} 1`,
		`anybridge_calls_total{direction="out"} 2`,
		`anybridge_calls_failed_total{direction="out"} 1`,
		`anybridge_registrations_now 1`,
		`anybridge_engine_pending_now{lane="0"} 0`,
		`anybridge_engine_attempts_total{outcome="delivered"} 0`,
		`anybridge_engine_stored_bytes_max 1.073741824e+10`,
		`anybridge_backend_up{backend="wamp",kind="memory"} 1`,
		`anybridge_backend_up{backend="down",kind="memory"} 0`,
		`anybridge_backend_events_total{backend="wamp",name="things_seen"} 3`,
		`anybridge_plugin_restarts_total{backend="wamp"} 2`,
		`go_goroutines`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

func TestOpenAPIIsServed(t *testing.T) {
	f := newFixture(t, setup{})
	if _, got := f.as("", "GET", "/openapi.json", ""); got != openAPIDocument {
		t.Errorf("got %s", got)
	}
	doc := loadDocument(t)
	for _, rt := range f.front.routes {
		if rt.unknown() {
			continue
		}
		item := doc.Paths.Value(rt.pattern)
		if item == nil || (item.Get != nil) != (rt.get != nil) || (item.Post != nil) != (rt.post != nil) || (item.Delete != nil) != (rt.delete != nil) {
			t.Errorf("openapi.json does not describe %s as it is served", rt.pattern)
		}
	}
	if got, want := doc.Paths.Len(), len(f.front.routes)-1; got != want {
		t.Errorf("openapi.json has %d paths, %d are served", got, want)
	}
}

func TestShutdownLetsCallsFinish(t *testing.T) {
	f := newFixture(t, setup{})
	started, release := make(chan struct{}), make(chan struct{})
	f.wamp.own["com.shop.slow"] = func(context.Context, *core.Call) (*core.Result, error) {
		close(started)
		<-release
		return &core.Result{}, nil
	}
	done := make(chan int)
	go func() {
		status, _ := f.do("POST", "/call/com.shop.slow/", "")
		done <- status
	}()
	<-started
	stopped := make(chan error)
	go func() { stopped <- f.front.Shutdown(context.Background()) }()
	eventually(t, f.front.draining.Load)
	recorder := httptest.NewRecorder()
	f.front.Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	if recorder.Code != http.StatusServiceUnavailable {
		t.Errorf("/readyz: got %d", recorder.Code)
	}
	close(release)
	if status := <-done; status != 200 {
		t.Errorf("got %d", status)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// One connection carries many requests, also after errors.
func TestKeepAlive(t *testing.T) {
	f := newFixture(t, setup{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for i, want := range []int{200, 400, 404, 401, 500, 200} {
		target, body := "/call/com.shop.add2/", `{"token": "`+shopToken+`", "args": [2, 3]}`
		switch want {
		case 400:
			body = `{`
		case 404:
			target = "/nowhere"
		case 401:
			body = ``
		case 500:
			target = "/call/com.shop.panic/"
		}
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: bridge\r\nContent-Length: %d\r\n\r\n%s", target, len(body), body)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("request %d: got %d, want %d", i, resp.StatusCode, want)
		}
	}
}

// Health of registrations that no longer exist is forgotten.
func TestHealthIsBounded(t *testing.T) {
	f := newFixture(t, setup{})
	for range 2*spareHealth + 10 {
		f.calls.noteHealth(registration("http://127.0.0.1:1/"), nil)
	}
	f.want(200, "POST", "/register/", `{"endpoints": {"com.shop.p": "http://127.0.0.1:1/"}}`)
	if n := f.calls.healthLen.Load(); n > spareHealth {
		t.Errorf("%d are remembered", n)
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("nothing was given")
	}
}
