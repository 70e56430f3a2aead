package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
)

// rest is a client of the REST API that holds one token.
type rest struct {
	url   string
	token string
	key   string // Idempotency-Key of what it sends; none if empty
}

// object is a JSON object written in Go.
type object = map[string]any

// answer is what the REST API answered.
type answer struct {
	Status int
	Type   string // Content-Type
	Body   []byte
}

// reply holds the fields of all the answers of the REST API.
type reply struct {
	ID     json.RawMessage
	Args   json.RawMessage
	Kwargs json.RawMessage

	Registered, Subscribed map[string]struct{ ID string }

	// Of problem details:
	Type, Title, Detail string
	Status              int
	Error               string
}

// httpClient keeps enough connections for the tests that make many requests at once.
var httpClient = &http.Client{
	Timeout:   2 * patience,
	Transport: &http.Transport{MaxIdleConnsPerHost: 256},
}

// send makes a request. The body is JSON already, or becomes JSON.
func (r rest) send(ctx context.Context, method, path string, body any) (answer, error) {
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = bytes.NewReader([]byte(b))
	default:
		reader = bytes.NewReader(raw(b))
	}
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, reader)
	if err != nil {
		return answer{}, err
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := httpClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{Status: resp.StatusCode, Type: resp.Header.Get("Content-Type"), Body: text}, err
}

func (r rest) get(t testing.TB, path string) answer {
	t.Helper()
	a, err := r.send(deadline(t), http.MethodGet, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (r rest) post(t testing.TB, path string, body any) answer {
	t.Helper()
	a, err := r.send(deadline(t), http.MethodPost, path, body)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// call calls a procedure, which must return a result.
func (r rest) call(t testing.TB, procedure string, body any) reply {
	t.Helper()
	return r.post(t, "/call/"+procedure+"/", body).want(t, http.StatusOK)
}

// publish publishes an event and returns its id.
func (r rest) publish(t testing.TB, topic string, body any) string {
	t.Helper()
	return text(r.post(t, "/publish/"+topic+"/", body).want(t, http.StatusOK).ID)
}

// register ties procedures to URLs, or to objects of a URL and options.
func (r rest) register(t testing.TB, endpoints object) {
	t.Helper()
	r.post(t, "/register/", object{"endpoints": endpoints}).want(t, http.StatusOK)
}

// subscribe ties topics to URLs, or to objects of a URL and options.
func (r rest) subscribe(t testing.TB, endpoints object) {
	t.Helper()
	r.post(t, "/subscribe/", object{"endpoints": endpoints}).want(t, http.StatusOK)
}

// want fails the test when the status is another one.
func (a answer) want(t testing.TB, status int) reply {
	t.Helper()
	var r reply
	a.decode(t, status, &r)
	return r
}

func (a answer) decode(t testing.TB, status int, into any) {
	t.Helper()
	if a.Status != status {
		t.Fatalf("status %d, want %d: %s", a.Status, status, a.Body)
	}
	if err := json.Unmarshal(a.Body, into); err != nil {
		t.Fatalf("answer %q: %v", a.Body, err)
	}
}

// text is a JSON string without its quotes, or anything else as it is.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// sameJSON fails the test when two JSON texts differ in more than white space, the
// way strings are escaped and the way fractions are written.
func sameJSON(t testing.TB, what string, got, want json.RawMessage) {
	t.Helper()
	if g, w := describeJSON(got), describeJSON(want); g != w {
		t.Errorf("%s:\n got %s\nwant %s", what, g, w)
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %s, want %s", what, quoted(got), quoted(want))
	}
}

func quoted(v any) string {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprint(v)
}
