package rest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

var update = flag.Bool("update", false, "write the answers into the golden files")

// The parts of a golden file. Each holds one story: requests and their answers in
// turns. Lines that begin with # come first and say what it shows; "# with:" names
// the bridge it happens on (see goldenSetup).
const (
	answerMark = "--- answer ---\n"
	nextMark   = "--- then ---\n"
)

// goldenSetup is the bridge that a story asks for.
func goldenSetup(t *testing.T, name string) (with setup, prepare func(*fixture)) {
	prepare = func(*fixture) {}
	switch name {
	case "":
	case "small": // bodies of at most 40 bytes
		with.limits.MaxBody = 40
	case "impatient": // nobody has more than 50 ms
		with.limits.Timeout = 50 * time.Millisecond
	case "busy": // as many requests as allowed are under way
		with.limits.MaxRequests = 1
		prepare = func(f *fixture) { f.front.admission.all.Add(1) }
	case "rated": // a token may make one request a minute, two at once
		prepare = func(f *fixture) {
			f.front.clock = func() int64 { return 1 }
			f.limit(core.TokenLimits{PerSecond: 1.0 / 60, Burst: 2})
		}
	case "few-endpoints": // a token may hold one
		prepare = func(f *fixture) { f.limit(core.TokenLimits{Endpoints: 1}) }
	case "suspicious": // one wrong token a minute
		with.limits.MaxGuesses, with.limits.GuessPause = 1, time.Minute
		prepare = func(f *fixture) { f.front.clock = func() int64 { return 1 } }
	case "dead-letters":
		prepare = deadLetters
	case "claimed": // the shop's key order-1
		prepare = func(f *fixture) {
			if _, _, err := f.work.Claim(t.Context(), "shop", "order-1", "evt", nil); err != nil {
				t.Fatal(err)
			}
		}
	case "settled": // the engine works on all its lanes
		prepare = func(f *fixture) {
			eventually(t, func() bool {
				return !slices.ContainsFunc(f.work.Status(t.Context()).Lanes, func(l engine.LaneStatus) bool { return !l.Mine })
			})
		}
	case "starting": // not ready yet
		prepare = func(f *fixture) { f.notReady.Store(true) }
	case "no-callbacks": // callbacks to public addresses only
		with.callbacks.Allow = []netip.Prefix{}
	case "config":
		with.reload = func(context.Context) error { return nil }
	case "bad-config":
		with.reload = func(context.Context) error {
			return core.Errorf(core.InvalidArgument, "anybridge.yaml:3: unknown key \"tokns\" (did you mean \"tokens\"?)\nanybridge.yaml:9: token \"shop\": scope \"buy:x\": no such verb")
		}
	default:
		t.Fatalf("no such setup: %s", name)
	}
	return with, prepare
}

// TestGolden plays every story in testdata/golden and compares the answers, checks
// them against the OpenAPI document, and checks that the document describes
// nothing else.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	doc := loadDocument(t)
	seen := map[string]bool{}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { playGolden(t, file, doc, seen) })
	}
	if t.Failed() {
		return
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			for status := range op.Responses.Map() {
				if key := method + " " + path + " " + status; status != "default" && !seen[key] {
					t.Errorf("openapi.json describes %s: no golden file shows it", key)
				}
			}
		}
	}
}

func loadDocument(t testing.TB) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData([]byte(openAPIDocument))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
	return doc
}

func playGolden(t *testing.T, file string, doc *openapi3.T, seen map[string]bool) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	comment, story := cutComment(string(raw))
	_, with, _ := strings.Cut(comment, "# with: ")
	s, prepare := goldenSetup(t, strings.TrimSpace(with))
	f := newFixture(t, s)
	prepare(f)
	a := newApp(t, appAnswer)
	long := strings.Repeat("x", 9000)
	hide := strings.NewReplacer(long, "{long}", a.URL, "{app}", shopToken, "{shop}", mobileToken, "{mobile}")
	show := strings.NewReplacer("{long}", long, "{app}", a.URL, "{shop}", shopToken, "{mobile}", mobileToken)
	out := comment
	for i, step := range strings.Split(story, nextMark) {
		request, _, _ := strings.Cut(step, answerMark)
		if i > 0 {
			out += nextMark
		}
		out += request + answerMark + normalise(hide.Replace(exchangeGolden(t, f, show.Replace(request), doc, seen)))
	}
	if *update {
		if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if out != string(raw) {
		t.Errorf("not what %s says; got:\n%s", file, out)
	}
}

func cutComment(s string) (comment, rest string) {
	for strings.HasPrefix(s, "#") {
		line, after, _ := strings.Cut(s, "\n")
		comment += line + "\n"
		s = after
	}
	return comment, s
}

// appAnswer is the golden stories' app.
func appAnswer(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/add2":
		_, _ = io.WriteString(w, "5")
	case "/broken":
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, "<h1>Server\nError</h1>")
	case "/overloaded":
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// exchangeGolden sends one request as it stands in the file and returns the answer
// as it should stand there.
func exchangeGolden(t *testing.T, f *fixture, request string, doc *openapi3.T, seen map[string]bool) string {
	t.Helper()
	head, body, _ := strings.Cut(request, "\n\n")
	body = strings.TrimRight(body, "\n")
	head += fmt.Sprintf("\nHost: bridge\nContent-Length: %d\nConnection: close", len(body))
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, strings.ReplaceAll(head, "\n", "\r\n")+"\r\n\r\n"+body); err != nil {
		t.Fatal(err)
	}
	method, target, _ := strings.Cut(head, " ")
	target, _, _ = strings.Cut(target, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	checkDocument(t, f, doc, seen, method, target, resp, got)
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", resp.Status)
	var names []string
	for name := range resp.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if name != "Date" && name != "Content-Length" {
			fmt.Fprintf(&b, "%s: %s\n", name, resp.Header.Get(name))
		}
	}
	switch {
	case target == "/metrics" || target == "/openapi.json":
		b.WriteString("\n(its own tests look at it)\n")
	case len(got) > 0 && method == http.MethodGet && target != "/healthz" && target != "/readyz" && resp.StatusCode == http.StatusOK:
		var indented bytes.Buffer
		_ = json.Indent(&indented, got, "", "  ")
		fmt.Fprintf(&b, "\n%s", indented.String())
	case len(got) > 0:
		fmt.Fprintf(&b, "\n%s", got)
	}
	return b.String()
}

// checkDocument validates an answer against the OpenAPI document.
func checkDocument(t *testing.T, f *fixture, doc *openapi3.T, seen map[string]bool, method, target string, resp *http.Response, body []byte) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	rt, _, named := f.front.route(&http.Request{URL: u})
	item := doc.Paths.Value(rt.pattern)
	if item == nil || item.GetOperation(method) == nil || named != rt.named {
		if resp.StatusCode < 400 && method != http.MethodHead && method != http.MethodOptions {
			t.Errorf("openapi.json does not have %s %s", method, rt.pattern)
		}
		return
	}
	op := item.GetOperation(method)
	status := strconv.Itoa(resp.StatusCode)
	if op.Responses.Value(status) == nil && resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("openapi.json does not have %s %s %s", method, rt.pattern, status)
	}
	if resp.StatusCode == http.StatusInternalServerError && bytes.Contains(body, []byte("urn:anybridge:error:internal")) {
		return // the default response
	}
	seen[method+" "+rt.pattern+" "+status] = true
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: &http.Request{Method: method, URL: u, Header: http.Header{}},
			Route:   &routers.Route{Spec: doc, Path: rt.pattern, PathItem: item, Method: method, Operation: op},
			Options: &openapi3filter.Options{IncludeResponseStatus: true},
		},
		Status: resp.StatusCode, Header: resp.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	input.SetBodyBytes(body)
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		return
	}
	if err := openapi3filter.ValidateResponse(context.Background(), input); err != nil {
		t.Errorf("%s %s %s is not what openapi.json says: %v", method, target, status, err)
	}
}

// deadLetters leaves the shop with two dead letters, evt_1 on com.shop.order and
// call_1 of com.shop.add2, and with evt_2 on com.shop.late, which is tried again in
// an hour.
func deadLetters(f *fixture) {
	f.t.Helper()
	a := newApp(f.t, appAnswer)
	f.want(200, "POST", "/subscribe/", `{"endpoints": {"com.shop.order": {"url": "`+a.URL+`/broken", "retry": []}, "com.shop.late": {"url": "`+a.URL+`/overloaded", "retry": ["1h"]}}}`)
	reaches := func(state engine.State, n int) {
		f.t.Helper()
		eventually(f.t, func() bool {
			list, _, err := f.work.Deliveries(f.t.Context(), engine.Filter{State: state})
			return err == nil && len(list) == n
		})
	}
	f.publish("evt_1", "com.shop.order")
	reaches(engine.Failed, 1)
	call := engine.AsyncCall{
		ID: "call_1", Owner: "shop", Timeout: time.Minute, To: core.Endpoint{URL: a.URL + "/broken", Retry: []time.Duration{}},
		Call: &core.Call{Procedure: core.Address{Backend: "wamp", Name: "com.shop.add2"}, Payload: core.Payload{Args: json.RawMessage(`[2, 3]`)}},
	}
	if _, err := f.work.StartCall(f.t.Context(), call); err != nil {
		f.t.Fatal(err)
	}
	reaches(engine.Failed, 2)
	f.publish("evt_2", "com.shop.late")
	reaches(engine.Retrying, 1)
}

func normalise(s string) string {
	s = regexp.MustCompile(`"bridge_[a-z2-7]{26}"`).ReplaceAllString(s, `"bridge_…"`)
	s = regexp.MustCompile(`"(bytes|stored_bytes_now)": [0-9]+`).ReplaceAllString(s, `"$1": 0`)
	s = regexp.MustCompile(`"latency": [0-9.e-]+`).ReplaceAllString(s, `"latency": 0`)
	s = regexp.MustCompile(`"(evt|call)_[a-z2-7]{26}"`).ReplaceAllString(s, `"${1}_…"`)
	return regexp.MustCompile(`"(created|started|last_call|last_attempt|at|failed_at|next)": "20[^"]*"`).ReplaceAllString(s, `"$1": "…"`)
}
