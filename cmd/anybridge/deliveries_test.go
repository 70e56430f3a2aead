package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	rest "github.com/anybridge/anybridge/adapters/http"
)

// deliveriesBridge answers each request, which it writes as "METHOD path body",
// with what is given for it; anything else with a 404.
func deliveriesBridge(t *testing.T, answers map[string]string) (url string, asked func() []string) {
	t.Helper()
	var log []string
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		request := strings.TrimSpace(r.Method + " " + r.URL.RequestURI() + " " + strings.TrimSpace(string(body)))
		log = append(log, request)
		if answer, ok := answers[request]; ok {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, answer)
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"type":"urn:anybridge:error:not_found","title":"Not found","detail":"no such delivery"}`)
	}))
	t.Cleanup(func() {
		b.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return b.URL, func() []string { return log }
}

func TestDeliveriesTable(t *testing.T) {
	ago := func(d time.Duration) string { return time.Now().Add(-d).UTC().Format(time.RFC3339Nano) }
	url, _ := deliveriesBridge(t, map[string]string{
		"GET /deliveries/?limit=100&state=failed": `{"deliveries": [
			{"id": "evt_1_sub_0a", "state": "failed", "kind": "event", "topic": "com.shop.order", "attempts": 10, "created": "2026-01-01T00:00:00Z",
			 "tries": [{"at": "2026-01-01T00:00:00Z", "latency": 0.1, "error": "x"}, {"at": "2026-01-01T00:00:00Z", "status": 500, "latency": 0.1, "error": "the app answered 500: \u001b[31mboom"}],
			 "failed_at": "` + ago(50*time.Hour) + `"},
			{"id": "call_1", "state": "failed", "kind": "result", "procedure": "com.shop.add", "attempts": 1, "tries": [], "created": "2026-01-01T00:00:00Z", "failed_at": "` + ago(time.Minute) + `"}]}`,
		"GET /deliveries/?all=1&limit=100&state=retrying&topic=irc%3A%23ops": `{"deliveries": [
			{"id": "evt_2_sub_0b", "state": "retrying", "kind": "event", "topic": "irc:#ops", "owner": "shop", "attempts": 1, "tries": [], "created": "2026-01-01T00:00:00Z", "next": "` + ago(-90*time.Second) + `"}]}`,
		"GET /deliveries/?limit=100&state=waiting&subscription=sub_0b": `{"deliveries": []}`,
	})
	for args, want := range map[string]string{
		"": `ID            STATE   WHAT                    TRIES  LAST ANSWER                          WHEN
evt_1_sub_0a  failed  com.shop.order          10     the app answered 500:  [31mboom  2d2h ago
call_1        failed  result of com.shop.add  1      -                                1m0s ago
`,
		"--state retrying --topic irc:#ops --all": `ID            STATE     WHAT             TRIES  LAST ANSWER  WHEN
evt_2_sub_0b  retrying  irc:#ops (shop)  1      -            in 1m30s
`,
		"--state waiting --subscription sub_0b": "none\n",
	} {
		code, out, errs := inProcess(t, nil, append([]string{"deliveries", "--url", url}, strings.Fields(args)...)...)
		if code != 0 || strings.Join(strings.Fields(out), " ") != strings.Join(strings.Fields(want), " ") || errs != "" {
			t.Errorf("%q: exit code %d, stderr %q, stdout:\n%s\nwant:\n%s", args, code, errs, out, want)
		}
		if strings.Contains(out, "\x1b") {
			t.Errorf("%q: what the app answered reaches the terminal: %q", args, out)
		}
	}
}

// A list goes over as many requests as it needs.
func TestDeliveriesAsksForMore(t *testing.T) {
	one := func(id string) string {
		return `{"id": "` + id + `", "state": "failed", "kind": "event", "attempts": 1, "tries": [], "created": "2026-01-01T00:00:00Z"}`
	}
	url, asked := deliveriesBridge(t, map[string]string{
		"GET /deliveries/?limit=3&state=failed":         `{"deliveries": [` + one("a") + `], "next": "7"}`,
		"GET /deliveries/?after=7&limit=2&state=failed": `{"deliveries": [` + one("b") + "," + one("c") + `], "next": "9"}`,
	})
	code, out, errs := inProcess(t, nil, "deliveries", "--url", url, "--limit", "3", "--json")
	var list rest.DeliveriesView
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list.Deliveries) != 3 || list.Next != "9" {
		t.Errorf("exit code %d, stdout %q, stderr %q, asked %q", code, out, errs, asked())
	}
}

func TestDeliveryInFull(t *testing.T) {
	url, _ := deliveriesBridge(t, map[string]string{
		"GET /deliveries/evt%2F1_sub_0a/": `{"id": "evt/1_sub_0a", "state": "failed", "kind": "event", "topic": "com.shop.order", "subscription": "sub_0a",
			"created": "2026-01-02T03:04:05Z", "failed_at": "2026-01-03T03:04:05Z", "attempts": 2, "reason": "the attempts are used up: refused",
			"tries": [{"at": "2026-01-02T03:04:06Z", "latency": 0.0123, "status": 500, "error": "the app answered 500", "answer": "<h1>no"}],
			"args": [12345678901234567890], "kwargs": {"a": 1}}`,
	})
	code, out, errs := inProcess(t, nil, "deliveries", "--url", url, "evt/1_sub_0a")
	want := `id                      evt/1_sub_0a
state                   failed
topic                   com.shop.order
subscription            sub_0a
created                 2026-01-02T03:04:05Z
failed                  2026-01-03T03:04:05Z
reason                  the attempts are used up: refused
args                    [12345678901234567890]
kwargs                  {"a": 1}
attempts                2
  2026-01-02T03:04:06Z  the app answered 500 (after 12ms)
                        <h1>no
`
	if code != 0 || out != want {
		t.Errorf("exit code %d, stderr %q, stdout:\n%s\nwant:\n%s", code, errs, out, want)
	}
	if code, _, errs := inProcess(t, nil, "deliveries", "--url", url, "evt_9"); code != 4 || !strings.Contains(errs, "no such delivery") {
		t.Errorf("exit code %d, stderr %q", code, errs)
	}
}

func TestReplay(t *testing.T) {
	url, asked := deliveriesBridge(t, map[string]string{
		"POST /deliveries/evt_1/replay/ {}":                   `{"replayed": ["evt_1"]}`,
		"POST /deliveries/evt_3/replay/ {}":                   `{"replayed": ["evt_3"]}`,
		"POST /deliveries/replay/ {}":                         `{"replayed": 12}`,
		"POST /deliveries/replay/?all=1 {}":                   `{"replayed": 40}`,
		`POST /deliveries/replay/ {"topic":"com.shop.order"}`: `{"replayed": 2}`,
		`POST /deliveries/replay/ {"subscription":"sub_0a"}`:  `{"replayed": 0}`,
		"POST /deliveries/evt_1/replay/?all=1 {}":             `{"replayed": ["evt_1"]}`,
	})
	for args, want := range map[string]struct {
		code int
		out  string
	}{
		"evt_1":                   {0, "evt_1\n"},
		"evt_1 evt_2 evt_3":       {4, "evt_1\nevt_3\n"}, // the second one is not there
		"--all":                   {0, "12 replayed\n"},
		"--all --everybody":       {0, "40 replayed\n"},
		"--topic com.shop.order":  {0, "2 replayed\n"},
		"--subscription sub_0a":   {0, "0 replayed\n"},
		"evt_1 --everybody":       {0, "evt_1\n"},
		"":                        {2, ""},
		"evt_1 --all":             {2, ""},
		"--all --topic com.shop.": {2, ""},
	} {
		code, out, errs := inProcess(t, nil, append([]string{"replay", "--url", url}, strings.Fields(args)...)...)
		if code != want.code || out != want.out || (code == 0) != (errs == "") {
			t.Errorf("%q: exit code %d, want %d; stdout %q, stderr %q; asked %q", args, code, want.code, out, errs, asked())
		}
	}
}

func TestStatusShowsTheEngine(t *testing.T) {
	url, _ := deliveriesBridge(t, map[string]string{"GET /status/": `{"version": "1.2.3", "started": "2026-01-01T00:00:00Z", "backends": [], "engine": {
		"store": "nats://a:4222", "connected": false, "durability": "disk", "bytes": 1610612736, "max_bytes": 10737418240, "dead_letters": 3, "parked": 2, "disabled": 1,
		"lanes": [{"lane": 0, "mine": true, "owner": "bridge_1", "pending": 12, "running": 4, "endpoints": 5, "oldest": "` + time.Now().Add(-72*time.Hour).UTC().Format(time.RFC3339) + `"},
			{"lane": 1, "mine": false, "owner": "bridge_2", "pending": 0, "running": 0, "endpoints": 0}, {"lane": 2, "mine": false, "pending": 0, "running": 0, "endpoints": 0}],
		"counters": {"async_calls_now": 6}}}`})
	code, out, errs := inProcess(t, nil, "status", "--url", url)
	for _, want := range []string{
		"store nats://a:4222, which cannot be reached", "durability disk", "stored 1.5 GiB of 10.0 GiB", "dead letters 3",
		"endpoints parked 2", "endpoints disabled 1", "asynchronous calls 6", "0 12 4 5 3d0h this bridge", "1 0 0 0 - bridge_2", "2 0 0 0 - nobody yet",
	} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("no %q in (exit code %d, stderr %q)\n%s", want, code, errs, out)
		}
	}
}

// What was acknowledged under a key has the same answer after a restart, and dead
// letters are there to be sent again.
func TestKeysAndDeadLettersOutliveTheBridge(t *testing.T) {
	dir := t.TempDir()
	text := configuration(map[string]string{"shop": everything(shopToken)})
	a := newTestAppIn(t, dir, text)
	a.start()
	web := newWebApp(t, "null")
	var mended atomic.Bool
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !mended.Load() {
			http.NotFound(w, r)
			return
		}
		web.Config.Handler.ServeHTTP(w, r)
	}))
	t.Cleanup(down.Close)
	a.post("/subscribe/", shopToken, `{"endpoints": {"com.shop.order": "`+web.URL+`", "com.shop.lost": {"url": "`+down.URL+`", "retry": []}}}`, 200)
	published, _ := withKey(t, a, "order-7", "/publish/com.shop.order/", `{"args": [7]}`, 200)
	receive(t, "event", web.got)
	called, _ := withKey(t, a, "call-7", "/call/wamp.session.count/", `{"callback": "`+web.URL+`"}`, 202)
	receive(t, "result", web.got)
	a.post("/publish/com.shop.lost/", shopToken, `{"args": [8]}`, 200)
	failed := func(a *testApp) []rest.DeliveryView {
		t.Helper()
		_, answer := request(t, http.MethodGet, "http://"+a.Addr()+"/deliveries/", shopToken, "")
		var list rest.DeliveriesView
		if err := json.Unmarshal([]byte(answer), &list); err != nil {
			t.Fatal(err)
		}
		return list.Deliveries
	}
	eventually(t, "a dead letter", func() bool { return len(failed(a)) == 1 })
	a.halt()

	a = newTestAppIn(t, dir, text)
	a.start()
	if again, header := withKey(t, a, "order-7", "/publish/com.shop.order/", `{"args": [7]}`, 200); again != published || header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("answers %s, then %s %v", published, again, header)
	}
	if again, header := withKey(t, a, "call-7", "/call/wamp.session.count/", `{"callback": "`+web.URL+`"}`, 202); again != called || header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("answers %s, then %s %v", called, again, header)
	}
	withKey(t, a, "order-7", "/publish/com.shop.order/", `{"args": [8]}`, 422)
	letters := failed(a)
	if len(letters) != 1 || letters[0].Topic != "com.shop.lost" {
		t.Fatalf("dead letters %+v", letters)
	}
	mended.Store(true)
	code, out, errs := inProcess(t, nil, "replay", letters[0].ID, "--url", "http://"+a.Addr(), "--token", shopToken)
	if code != 0 || out != letters[0].ID+"\n" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, out, errs)
	}
	if body := receive(t, "replayed event", web.got); !strings.Contains(body, `"args":[8]`) {
		t.Errorf("event %s", body)
	}
	eventually(t, "no dead letter", func() bool { return len(failed(a)) == 0 })
	if err := a.configure(text + "engine: {durability: disk}\n"); err == nil || !strings.Contains(err.Error(), "engine cannot change") {
		t.Errorf("reload: %v", err)
	}
	if n := a.bridge.Stats().EventsOut.Load(); n != 0 {
		t.Errorf("%d events were published again", n)
	}
}

func TestEngineOfTheConfiguration(t *testing.T) {
	a := startApp(t, configuration(map[string]string{"shop": everything(shopToken)})+"engine: {durability: disk, max_bytes: 100MiB}\n")
	_, answer := request(t, http.MethodGet, "http://"+a.Addr()+"/status/", shopToken, "")
	var s rest.Status
	if err := json.Unmarshal([]byte(answer), &s); err != nil || s.Engine.Durability != "disk" || s.Engine.MaxBytes != 100<<20 || len(s.Engine.Lanes) == 0 {
		t.Errorf("status %s (%v)", answer, err)
	}
}

// withKey posts with an idempotency key and the shop's token.
func withKey(t *testing.T, a *testApp, key, path, body string, want int) (answer string, header http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+a.Addr()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+shopToken)
	r.Header.Set("Idempotency-Key", key)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != want {
		t.Fatalf("%s: status %d, want %d: %s (%v)", path, response.StatusCode, want, text, err)
	}
	return string(text), response.Header
}
