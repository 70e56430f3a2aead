package tests

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// callback is one request of the bridge to an app.
type callback struct {
	Type      string // "event", "invocation", "result" or "error"
	ID        string
	Topic     string
	Procedure string
	Args      json.RawMessage
	Kwargs    json.RawMessage
	Time      time.Time
	Details   json.RawMessage
	Status    int
	Error     string

	WebhookID string `json:"-"` // from the header

	Body []byte          `json:"-"`
	Gone <-chan struct{} `json:"-"` // closed when the bridge hangs up, or when the answer is out
}

// details are what the tests look at in the details of events and invocations.
type details struct {
	Caller            uint64
	CallerAuthID      string `json:"caller_authid"`
	Publisher         uint64
	PublisherAuthID   string `json:"publisher_authid"`
	PublisherAuthRole string `json:"publisher_authrole"`

	CallerToken    string `json:"caller_token"`
	CallerUser     string `json:"caller_user"`
	PublisherToken string `json:"publisher_token"`
}

func (c callback) details(t testing.TB) details {
	t.Helper()
	var d details
	if len(c.Details) > 0 {
		if err := json.Unmarshal(c.Details, &d); err != nil {
			t.Fatalf("details %s: %v", c.Details, err)
		}
	}
	return d
}

// response is an app's answer to the bridge.
type response struct {
	status int
	kind   string // Content-Type; application/json if empty
	body   any
}

// Content types of an app's answers.
const (
	resultType  = "application/vnd.anybridge.result+json"
	problemType = "application/problem+json"
)

// app is a web application behind the bridge: it answers at its paths, and keeps
// what came. Every request must be signed with the key that belongs to the token.
type app struct {
	t      testing.TB
	url    string
	key    *standardwebhooks.Webhook
	mu     sync.Mutex
	views  map[string]func(callback) response
	queues map[string]chan callback
}

// startApp starts an app of the token's owner.
func startApp(t testing.TB, token string) *app {
	t.Helper()
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte("anybridge callback signing v1"))
	key, err := standardwebhooks.NewWebhook("whsec_" + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	if err != nil {
		t.Fatal(err)
	}
	a := &app{t: t, key: key, views: map[string]func(callback) response{}, queues: map[string]chan callback{}}
	server := httptest.NewServer(a)
	a.url = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return a
}

// view makes the app answer at path and returns the URL. Without a function the
// answer is 204.
func (a *app) view(path string, answer func(callback) response) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if answer == nil {
		answer = func(callback) response { return response{status: http.StatusNoContent} }
	}
	a.views[path] = answer
	a.queues[path] = make(chan callback, 4096)
	return a.url + path
}

// uncounted is view for requests that no one will look at.
func (a *app) uncounted(path string, answer func(callback) response) string {
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.queues, path)
	}()
	return a.view(path, answer)
}

// waiting is how many requests at path no one has looked at yet.
func (a *app) waiting(path string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.queues[path])
}

// next is the next request at path that no one has looked at yet.
func (a *app) next(t testing.TB, path string) callback {
	t.Helper()
	a.mu.Lock()
	queue := a.queues[path]
	a.mu.Unlock()
	select {
	case c := <-queue:
		return c
	case <-time.After(patience):
		t.Fatalf("no callback at %s", path)
		return callback{}
	}
}

// none fails the test when a request at path has come that no one has looked at.
func (a *app) none(t testing.TB, path string) {
	t.Helper()
	a.mu.Lock()
	queue := a.queues[path]
	a.mu.Unlock()
	select {
	case c := <-queue:
		t.Errorf("one callback too many at %s: %s", path, c.Body)
	default:
	}
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the bridge hung up
	}
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		a.t.Errorf("callback %s %s with Content-Type %q", r.Method, r.URL, r.Header.Get("Content-Type"))
	}
	if agent := r.Header.Get("User-Agent"); !strings.HasPrefix(agent, "anybridge/") {
		a.t.Errorf("callback of User-Agent %q", agent)
	}
	if err := a.key.Verify(body, r.Header); err != nil {
		a.t.Errorf("callback to %s is not signed as it should be: %v", r.URL, err)
	}
	c := callback{WebhookID: r.Header.Get("Webhook-Id"), Body: body, Gone: r.Context().Done()}
	if err := json.Unmarshal(body, &c); err != nil {
		a.t.Errorf("callback %s: %v", body, err)
	}
	a.mu.Lock()
	view, queue := a.views[r.URL.Path], a.queues[r.URL.Path]
	a.mu.Unlock()
	if view == nil {
		http.NotFound(w, r)
		return
	}
	if queue != nil {
		queue <- c
	}
	answer := view(c)
	if answer.status == http.StatusNoContent {
		w.WriteHeader(answer.status)
		return
	}
	if answer.kind == "" {
		answer.kind = "application/json"
	}
	w.Header().Set("Content-Type", answer.kind)
	w.WriteHeader(answer.status)
	_, _ = w.Write(raw(answer.body))
}

// Views that several tests use.

// echo returns args and kwargs as they came.
func echo(c callback) response {
	return response{http.StatusOK, resultType, object{"args": c.Args, "kwargs": c.Kwargs}}
}

// refuse raises an application error with the args and kwargs that came.
func refuse(c callback) response {
	return response{http.StatusBadRequest, problemType, object{
		"error": "com.example.error.refused", "args": c.Args, "kwargs": c.Kwargs}}
}

// nameOf returns the procedure that was called.
func nameOf(c callback) response {
	return response{http.StatusOK, "", c.Procedure}
}

// hang answers only when nobody waits any more.
func hang(c callback) response {
	<-c.Gone
	return response{status: http.StatusNoContent}
}
