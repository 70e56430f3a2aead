package rest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anybridge/anybridge/engine"
)

// keyed sends a POST with an idempotency key and the shop's token, and returns what
// it was answered with.
func (f *fixture) keyed(key, path, body string) (status int, answer string, header http.Header) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.URL+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+shopToken)
	req.Header.Set("Idempotency-Key", key)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		f.t.Error(err)
		return 0, "", nil
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Error(err)
	}
	return resp.StatusCode, string(got), resp.Header
}

// wantKeyed is keyed, and a check of the status.
func (f *fixture) wantKeyed(status int, key, path, body string) string {
	f.t.Helper()
	got, answer, _ := f.keyed(key, path, body)
	if got != status {
		f.t.Fatalf("%s with key %s: %d %s, want %d", path, key, got, answer, status)
	}
	return answer
}

// The same publish with the same key reaches nobody again and has the same answer.
func TestPublishOncePerKey(t *testing.T) {
	f := newFixture(t, setup{})
	a := newApp(t, nil)
	f.want(200, "POST", "/subscribe/", `{"endpoints": {"com.shop.order": "`+a.URL+`"}}`)
	status, first, header := f.keyed("k", "/publish/com.shop.order/", `{"args": [1]}`)
	if status != 200 || header.Get("Idempotent-Replayed") != "" {
		t.Fatalf("%d %s %v", status, first, header)
	}
	status, again, header := f.keyed("k", "/publish/com.shop.order", `{"args": [1]}`)
	if status != 200 || again != first || header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("%d %s %v, want what came first: %s", status, again, header, first)
	}
	var event struct{ ID string }
	if err := json.Unmarshal([]byte(first), &event); err != nil {
		t.Fatal(err)
	}
	if got := a.next(t); !strings.HasPrefix(got.header.Get("Webhook-Id"), event.ID+"_") {
		t.Errorf("webhook-id %s of event %s", got.header.Get("Webhook-Id"), event.ID)
	}
	f.wantKeyed(200, "another", "/publish/com.shop.order/", `{"args": [1]}`)
	a.next(t)
	select {
	case got := <-a.got:
		t.Errorf("a third event arrived: %s", got.body)
	default:
	}
}

// However many ask at once with one key: one of them publishes, and the others have
// its answer or are told to wait.
func TestConcurrentRequestsWithOneKey(t *testing.T) {
	f := newFixture(t, setup{})
	answers := map[string]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			status, answer, header := f.keyed("k", "/publish/com.shop.order/", `{}`)
			switch {
			case status == 200:
				mu.Lock()
				answers[answer] = true
				mu.Unlock()
			case status != 409 || header.Get("Retry-After") != "1":
				t.Errorf("%d %s %v", status, answer, header)
			}
		})
	}
	wg.Wait()
	if n := f.bridge.Stats().EventsOut.Load(); n != 1 || len(answers) != 1 {
		t.Errorf("%d events, answers %v", n, answers)
	}
}

// A call is made once per key, and its outcome comes once, under the id in both
// answers.
func TestCallOncePerKey(t *testing.T) {
	f := newFixture(t, setup{})
	a := newApp(t, nil)
	body := `{"args": [2, 3], "callback": "` + a.URL + `"}`
	first := f.wantKeyed(202, "k", "/call/com.shop.add2/", body)
	got := a.next(t)
	if again := f.wantKeyed(202, "k", "/call/com.shop.add2/", body); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	if id := got.header.Get("Webhook-Id"); !strings.Contains(first, id) || !strings.Contains(got.body, `"args":[5]`) {
		t.Errorf("answer %s, result %s: %s", first, id, got.body)
	}
	if n := f.bridge.Stats().CallsOut.Load(); n != 1 {
		t.Errorf("%d calls", n)
	}
}

// After an error that certainly did nothing the key is free again; after one that
// leaves that open it still stands for the same request.
func TestKeysAfterErrors(t *testing.T) {
	f := newFixture(t, setup{limits: Limits{Timeout: 50 * time.Millisecond}})
	f.wantKeyed(404, "nothing", "/publish/nowhere:x/", `{}`)
	f.front.limits.Timeout = 30 * time.Second
	f.wantKeyed(200, "nothing", "/publish/com.shop.order/", `{}`)

	f.wantKeyed(400, "refused", "/call/com.shop.add2/", `{"callback": "http://127.0.0.1/", "timeout": "2h"}`)
	f.wantKeyed(202, "refused", "/call/com.shop.add2/", `{"callback": "http://127.0.0.1:1/"}`)

	f.front.limits.Timeout = 50 * time.Millisecond
	f.wantKeyed(504, "open", "/publish/slow:x/", `{}`)
	f.front.limits.Timeout = 30 * time.Second
	f.wantKeyed(422, "open", "/publish/com.shop.order/", `{}`)
}

// The token in a body can be replaced while the key counts.
func TestKeysOutliveTheToken(t *testing.T) {
	f := newFixture(t, setup{})
	body := func(token string) string { return `{"token": "` + token + `", "args": [1]}` }
	send := func(token string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.URL+"/publish/com.shop.order/", strings.NewReader(body(token)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Idempotency-Key", "k")
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got, _ := io.ReadAll(resp.Body)
		return string(got)
	}
	first := send(shopToken)
	f.setTokens(map[string][]string{"shop-with-another-token": {"*"}})
	if again := send("shop-with-another-token"); again != first {
		t.Errorf("%s, then %s", first, again)
	}
}

// panicky is an engine whose asynchronous calls panic.
type panicky struct{ *engine.Engine }

func (panicky) StartCall(context.Context, engine.AsyncCall) (string, error) { panic("a bug") }

// A bug does not block the key for good, and the call counts as perhaps made.
func TestKeysAfterPanics(t *testing.T) {
	f := newFixture(t, setup{})
	a := newApp(t, nil)
	f.front.o.Work = panicky{f.work}
	body := `{"args": [2, 3], "callback": "` + a.URL + `"}`
	f.wantKeyed(500, "k", "/call/com.shop.add2/", body)
	f.front.o.Work = f.work
	f.wantKeyed(202, "k", "/call/com.shop.add2/", body)
	if got := a.next(t); !strings.Contains(got.body, "unknown") || f.bridge.Stats().CallsOut.Load() != 0 {
		t.Errorf("result %s", got.body)
	}
}
