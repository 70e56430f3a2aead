package rest

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/anybridge/anybridge/core"
)

// The seeds are in testdata/fuzz.

// FuzzScanner compares the scanner with encoding/json.
func FuzzScanner(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		const depth = 50
		s := scanner{data: body, maxDepth: depth}
		raw, err := s.raw()
		if err == nil {
			err = s.end()
		}
		valid := json.Valid(body) && utf8.Valid(body)
		if (err == nil) != valid && (err == nil || !strings.Contains(err.Error(), "inside each other")) {
			t.Fatalf("%q: %v, encoding/json says %v", body, err, valid)
		}
		if err == nil && strings.TrimSpace(string(body)) != string(raw) {
			t.Fatalf("%q: got %q", body, raw)
		}
	})
}

// checkDecoded checks what every decoder promises: an error is InvalidArgument,
// and what is no error is JSON whose payload is a list and an object.
func checkDecoded(t *testing.T, body []byte, p core.Payload, err error) {
	t.Helper()
	if err != nil {
		if core.CodeOf(err) != core.InvalidArgument {
			t.Fatalf("%q: %v", body, err)
		}
		return
	}
	if text := strings.TrimSpace(strings.TrimPrefix(string(body), "\ufeff")); text != "" && !json.Valid([]byte(text)) {
		t.Fatalf("%q was decoded", body)
	}
	if p.Args != nil && (!json.Valid(p.Args) || p.Args[0] != '[') || p.Kwargs != nil && (!json.Valid(p.Kwargs) || p.Kwargs[0] != '{') {
		t.Fatalf("%q: got %s %s", body, p.Args, p.Kwargs)
	}
}

func FuzzDecodeCall(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decodeCall(body, 50)
		checkDecoded(t, body, r.Payload, err)
		if err == nil && (r.timeout < 0 || r.callback != nil && r.callback.url == "" && !strings.Contains(string(body), `""`)) {
			t.Fatalf("%q: got %+v", body, r)
		}
	})
}

func FuzzDecodePublish(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decodePublish(body, 50)
		checkDecoded(t, body, r.Payload, err)
	})
}

func FuzzDecodeRegister(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decodeBindings(body, Limits{}.withDefaults(), registerFields())
		checkDecoded(t, body, core.Payload{}, err)
		checkSpecs(t, body, r.endpoints, err)
	})
}

func FuzzDecodeSubscribe(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decodeBindings(body, Limits{}.withDefaults(), subscribeFields())
		checkDecoded(t, body, core.Payload{}, err)
		checkSpecs(t, body, r.endpoints, err)
	})
}

func checkSpecs(t *testing.T, body []byte, specs []bindingSpec, err error) {
	t.Helper()
	for _, s := range specs {
		if err == nil && (s.timeout < 0 || s.timeout > maxEndpointTimeout || s.concurrency < 0 || s.concurrency > maxConcurrency || s.rate < 0 || s.match == "" || len(s.retry) > maxRetries) {
			t.Fatalf("%q: got %+v", body, s)
		}
	}
}

func FuzzDecodeNames(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		_, err := decodeNames(body, Limits{}.withDefaults(), subscribeFields())
		checkDecoded(t, body, core.Payload{}, err)
	})
}

// FuzzHandler sends anything to a whole frontend: it never panics, and its answer
// is JSON: a problem with the right status, or a success.
func FuzzHandler(f *testing.F) {
	fx := newFixture(f, setup{limits: Limits{Timeout: 1}})
	// Nothing that a fuzzer subscribes is ever connected to.
	fx.calls.policy.Load().transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no connections in this test")
	}
	handler := fx.front.Handler()
	f.Fuzz(func(t *testing.T, method, path, token string, body []byte) {
		r, err := http.NewRequest(method, "http://bridge/"+strings.TrimPrefix(path, "/"), strings.NewReader(string(body)))
		if err != nil {
			return
		}
		if token == "shop" {
			token = shopToken
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		switch got := w.Body.Bytes(); {
		case strings.Contains(w.Body.String(), "urn:anybridge:error:internal") && r.URL.Path != "/openapi.json":
			if !strings.Contains(path, "bug") && !strings.Contains(path, "panic") {
				t.Fatalf("%s %s %q: %d %s", method, path, body, w.Code, got)
			}
		case w.Code == http.StatusNoContent, strings.HasPrefix(r.URL.Path, "/metrics"):
		case !json.Valid(got):
			t.Fatalf("%s %s %q: %d %q is not JSON", method, path, body, w.Code, got)
		case w.Code >= 400:
			var p struct {
				Type, Title string
				Status      int
			}
			if err := json.Unmarshal(got, &p); err != nil || p.Status != w.Code || !strings.HasPrefix(p.Type, typePrefix) || p.Title == "" || w.Header().Get("Content-Type") != problemType {
				t.Fatalf("%s %s %q: %d %s", method, path, body, w.Code, got)
			}
		}
	})
}
