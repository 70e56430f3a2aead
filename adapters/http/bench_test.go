package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
)

// benchBody is a small call, as most are.
const benchBody = `{"args": ["apples", 3, {"size": "L", "organic": true}], "kwargs": {"customer": 9007199254740993}}`

// BenchmarkCallHandler is the handler alone, without a network.
func BenchmarkCallHandler(b *testing.B) {
	f := newFixture(b, setup{})
	handler := f.front.Handler()
	r := httptest.NewRequest(http.MethodPost, "/call/com.shop.echo/", nil)
	r.Header.Set("Authorization", "Bearer "+shopToken)
	r.ContentLength = int64(len(benchBody))
	w := &discardWriter{header: http.Header{}}
	body := strings.NewReader(benchBody)
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(benchBody)
		r.Body = io.NopCloser(body)
		clear(w.header)
		handler.ServeHTTP(w, r)
	}
	if w.status != http.StatusOK {
		b.Fatal(w.status)
	}
}

type discardWriter struct {
	header http.Header
	status int
}

func (w *discardWriter) Header() http.Header         { return w.header }
func (w *discardWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *discardWriter) WriteHeader(status int)      { w.status = status }

// BenchmarkCall measures calls over loopback to a procedure in memory, beside the
// least that a JSON service in Go does: decode the body, encode the answer. It
// runs the two in turns and reports the ratio of their rates.
func BenchmarkCall(b *testing.B) {
	f := newFixture(b, setup{})
	floor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var payload struct{ Args, Kwargs json.RawMessage }
		if err := json.NewDecoder(r.Body).Decode(&payload); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", jsonType)
		_ = json.NewEncoder(w).Encode(payload)
	}))
	b.Cleanup(floor.Close)
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", jsonType)
		_, _ = w.Write(body)
	}))
	b.Cleanup(echo.Close)
	client := benchClient(b)
	compare(b, []contender{
		{"anybridge", f.URL + "/call/com.shop.echo/"},
		{"json", floor.URL + "/call/com.shop.echo/"},
		{"echo", echo.URL + "/call/com.shop.echo/"},
	}, func(target string) func() error {
		return func() error {
			r, _ := http.NewRequestWithContext(context.Background(), http.MethodPost, target, strings.NewReader(benchBody))
			r.Header.Set("Authorization", "Bearer "+shopToken)
			resp, err := client.Do(r)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				return fmt.Errorf("status %d, %w", resp.StatusCode, err)
			}
			return nil
		}
	})
}

// BenchmarkCallback measures invocations sent to an app beside bare POSTs of the
// same body by net/http's client.
func BenchmarkCallback(b *testing.B) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", jsonType)
		_, _ = io.WriteString(w, "5")
	}))
	b.Cleanup(app.Close)
	c := newCallbacks(b, CallbackOptions{Policy: Policy{Allow: loopback()}})
	reg := registration(app.URL)
	inv := &core.Invocation{ID: "inv_1", Procedure: core.Address{Backend: "wamp", Name: "com.shop.p"}, Payload: core.Payload{Args: []byte(`["apples", 3, {"size": "L"}]`)}}
	body := c.invocationBody(inv)
	client := benchClient(b)
	compare(b, []contender{{"anybridge", ""}, {"http", app.URL}}, func(target string) func() error {
		if target == "" {
			return func() error {
				_, err := c.Invoke(context.Background(), reg, inv)
				return err
			}
		}
		return func() error {
			resp, err := client.Post(target, jsonType, bytes.NewReader(body))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			answer, err := io.ReadAll(resp.Body)
			if err == nil && !json.Valid(answer) {
				err = errors.New("not JSON")
			}
			return err
		}
	})
}

type contender struct{ name, target string }

// compare runs the contenders in turns, b.N requests each, from many clients at
// once, and reports the first one's rate as a share of each other's.
func compare(b *testing.B, all []contender, request func(target string) func() error) {
	b.Helper()
	const rounds, clients = 4, 32
	times := make([]time.Duration, len(all))
	for round := range rounds + 1 {
		for i, c := range all {
			var left atomic.Int64
			left.Store(int64(max(b.N/rounds, clients)))
			do := request(c.target)
			start := time.Now()
			var wg sync.WaitGroup
			for range clients {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if err := do(); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			if round > 0 { // the first one warms up
				times[i] += time.Since(start)
			}
		}
	}
	n := float64(max(b.N/rounds, clients) * rounds)
	b.ReportMetric(0, "ns/op")
	for i, c := range all {
		b.ReportMetric(n/times[i].Seconds(), c.name+"/s")
		if i > 0 {
			b.ReportMetric(float64(times[i])/float64(times[0]), "of_"+c.name)
		}
	}
}

func benchClient(b *testing.B) *http.Client {
	t := &http.Transport{MaxIdleConnsPerHost: 256, DialContext: (&net.Dialer{}).DialContext}
	b.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

func BenchmarkDecodeCall(b *testing.B) {
	large := `{"args": [` + strings.Repeat(`{"name": "a rather ordinary string, as most are", "n": 12345.678, "ok": true}, `, 1000) + `null]}`
	for name, body := range map[string]string{"small": benchBody, "large": large} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decodeCall([]byte(body), 512); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/encoding-json", func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				var r struct{ Args, Kwargs json.RawMessage }
				if err := json.Unmarshal([]byte(body), &r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
