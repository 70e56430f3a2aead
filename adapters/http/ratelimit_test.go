package rest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
)

// limit configures all tokens anew, with these limits.
func (f *fixture) limit(l core.TokenLimits) {
	f.t.Helper()
	var list []*core.Token
	for _, t := range f.tokens.Load().All() {
		limited := *t
		limited.Limits = l
		list = append(list, &limited)
	}
	tokens, err := core.NewTokens(list)
	if err != nil {
		f.t.Fatal(err)
	}
	f.tokens.Store(tokens)
}

// fetch is as, with the header of the answer.
func (f *fixture) fetch(token, method, path, body string) *http.Response {
	f.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, f.URL+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

func TestBucket(t *testing.T) {
	var b bucket
	p := pacing{pace: 100, burst: 3}
	for _, step := range []struct {
		now, left int64
		more      time.Duration
		ok        bool
	}{
		{1000, 2, 100, true},
		{1000, 1, 100, true},
		{1050, 0, 50, true},
		{1060, 0, 40, false},
		{1100, 0, 100, true},
		{1350, 1, 50, true}, // two and a half came back
		{9000, 2, 100, true},
	} {
		left, more, ok := b.take(step.now, p)
		if left != step.left || more != step.more || ok != step.ok {
			t.Errorf("at %d: got %d left, %d until more, %v; want %+v", step.now, left, more, ok, step)
		}
	}
	// A smaller burst counts from now on, and no debt is left of the former one.
	if _, more, ok := b.take(9000, pacing{pace: 100, burst: 1}); ok || more != 100 {
		t.Errorf("got %v, %v", more, ok)
	}
	if wait := b.wait(9000, pacing{pace: 100, burst: 1}); wait != 100 {
		t.Errorf("wait: %v", wait)
	}
	if _, _, ok := b.take(9100, pacing{pace: 100, burst: 1}); !ok {
		t.Error("nothing came back")
	}
}

func TestRateLimit(t *testing.T) {
	f := newFixture(t, setup{})
	f.front.clock = func() int64 { return 1 }
	f.limit(core.TokenLimits{PerSecond: 0.5, Burst: 3})
	requests := []struct{ method, path, body string }{
		{"POST", "/call/com.shop.add2/", `{"args": [2, 3]}`},
		{"POST", "/publish/com.shop.order/", `{}`},
		{"GET", "/register/", ``},
	}
	for i, r := range requests {
		resp := f.fetch(shopToken, r.method, r.path, r.body)
		if resp.StatusCode != http.StatusOK || resp.Header.Get("RateLimit-Policy") != `"default";q=3;w=6` || resp.Header.Get("RateLimit") != fmt.Sprintf(`"default";r=%d;t=2`, 2-i) {
			t.Errorf("%s: got %d %v", r.path, resp.StatusCode, resp.Header)
		}
	}
	for _, r := range append(requests, struct{ method, path, body string }{"POST", "/register/", `{"endpoints": {}}`}) {
		resp := f.fetch(shopToken, r.method, r.path, r.body)
		if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("RateLimit") != `"default";r=0;t=2` || resp.Header.Get("Retry-After") != "2" {
			t.Errorf("%s: got %d %v", r.path, resp.StatusCode, resp.Header)
		}
	}
	if _, body := f.do("GET", "/register/", ""); !strings.Contains(body, `token \"shop\" may make 0.5 requests per second, 3 at once`) {
		t.Errorf("got %s", body)
	}
	if n := f.front.admission.all.Load(); n != 0 {
		t.Errorf("refused requests keep %d places", n)
	}
	if resp := f.fetch(mobileToken, "GET", "/register/", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("another token: got %d", resp.StatusCode)
	}
	// Configured anew: the bucket stays as it is.
	f.limit(core.TokenLimits{PerSecond: 0.5, Burst: 4})
	if resp := f.fetch(shopToken, "GET", "/register/", ""); resp.StatusCode != http.StatusOK || resp.Header.Get("RateLimit") != `"default";r=0;t=2` || resp.Header.Get("RateLimit-Policy") != `"default";q=4;w=8` {
		t.Errorf("got %d %v", resp.StatusCode, resp.Header)
	}
	if resp := f.fetch(shopToken, "GET", "/register/", ""); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("got %d", resp.StatusCode)
	}
	f.limit(core.TokenLimits{})
	if resp := f.fetch(shopToken, "GET", "/register/", ""); resp.StatusCode != http.StatusOK || resp.Header.Get("RateLimit") != "" {
		t.Errorf("without a limit: got %d %v", resp.StatusCode, resp.Header)
	}
}

func TestEndpointsOfOneTokenAreBounded(t *testing.T) {
	f := newFixture(t, setup{})
	f.limit(core.TokenLimits{Endpoints: 3})
	f.want(200, "POST", "/register/", `{"endpoints": {"a": "http://127.0.0.1:1/", "b": "http://127.0.0.1:1/"}}`)
	f.want(200, "POST", "/subscribe/", `{"endpoints": {"a": "http://127.0.0.1:1/"}}`)
	for _, path := range []string{"/register/", "/subscribe/"} {
		resp := f.fetch(shopToken, "POST", path, `{"endpoints": {"a": "http://127.0.0.1:1/", "c": "http://127.0.0.1:1/"}}`)
		if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "" {
			t.Errorf("%s: got %d %v", path, resp.StatusCode, resp.Header)
		}
	}
	if _, body := f.do("POST", "/register/", `{"endpoints": {"c": "http://127.0.0.1:1/"}}`); !strings.Contains(body, `token \"shop\" holds 3 registrations and subscriptions, and may hold 3`) || !strings.Contains(body, "too_many_endpoints") {
		t.Errorf("got %s", body)
	}
	// What is held already is no more for being asked for again.
	f.want(200, "POST", "/register/", `{"endpoints": {"a": "http://127.0.0.1:1/new"}}`)
	f.want(200, "POST", "/unregister/", `{"endpoints": ["a"]}`)
	f.want(200, "POST", "/subscribe/", `{"endpoints": {"c": "http://127.0.0.1:1/"}}`)
	// Requests under way count.
	f.want(200, "POST", "/unsubscribe/", `{"endpoints": ["c"]}`)
	f.front.admission.gate("shop").binding.Add(1)
	f.want(429, "POST", "/subscribe/", `{"endpoints": {"c": "http://127.0.0.1:1/"}}`)
	f.front.admission.gate("shop").binding.Add(-1)
	f.want(200, "POST", "/subscribe/", `{"endpoints": {"c": "http://127.0.0.1:1/"}}`)
	if n := f.front.admission.gate("shop").binding.Load(); n != 0 {
		t.Errorf("%d endpoints are left reserved", n)
	}
}

// The rate limit adds the two header values and nothing else; its absence nothing
// at all.
func TestRateLimitAllocations(t *testing.T) {
	f := newFixture(t, setup{})
	x := &exchange{f: f.front, w: &discardWriter{header: http.Header{}}, r: httptest.NewRequest(http.MethodGet, "/register/", nil)}
	authenticate := func() {
		if err := x.authenticate(shopToken); err != nil {
			t.Error(err)
		}
		f.front.admission.leave(x.tokenGate)
	}
	if n := testing.AllocsPerRun(100, authenticate); n > 0 {
		t.Errorf("without a limit: %v allocations", n)
	}
	f.limit(core.TokenLimits{PerSecond: 1e6, Burst: 1e6})
	if n := testing.AllocsPerRun(100, authenticate); n > 2 {
		t.Errorf("with a limit: %v allocations", n)
	}
}
