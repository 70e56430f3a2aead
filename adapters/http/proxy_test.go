package rest

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// egress is a forward proxy: it connects to hosts that the test names, and wants a
// password.
type egress struct {
	*httptest.Server
	hosts  map[string]string // host:port → where that is
	answer atomic.Int64      // what it says instead of working

	mu      sync.Mutex
	asked   []string
	working sync.WaitGroup // the server itself does not wait for its tunnels
}

const proxyPassword = "pass-of-the-proxy"

func newEgress(t testing.TB, hosts map[string]string) *egress {
	t.Helper()
	e := &egress{hosts: hosts}
	e.Server = httptest.NewServer(e)
	t.Cleanup(func() {
		e.CloseClientConnections()
		e.Close()
		e.working.Wait()
	})
	return e
}

// url is the proxy's URL with a password.
func (e *egress) url(t testing.TB, user *url.Userinfo) *url.URL {
	t.Helper()
	u, err := url.Parse(e.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = user
	return u
}

func (e *egress) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.working.Add(1)
	defer e.working.Done()
	e.mu.Lock()
	e.asked = append(e.asked, r.Method+" "+r.Host)
	e.mu.Unlock()
	if status := int(e.answer.Load()); status != 0 {
		if status == http.StatusProxyAuthRequired {
			w.Header().Set("Proxy-Authenticate", "Basic")
		}
		w.WriteHeader(status)
		return
	}
	if want := "Basic " + base64.StdEncoding.EncodeToString([]byte("bridge:"+proxyPassword)); r.Header.Get("Proxy-Authorization") != want {
		w.Header().Set("Proxy-Authenticate", "Basic")
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	target, known := e.hosts[r.Host]
	if !known {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	if r.Method == http.MethodConnect {
		e.connect(w, target)
		return
	}
	r.Header.Del("Proxy-Authorization")
	r.RequestURI = ""
	r.URL.Host = target
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

func (e *egress) connect(w http.ResponseWriter, target string) {
	there, err := net.Dial("tcp", target)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	here, buffered, err := w.(http.Hijacker).Hijack() // before the answer: the server reads ahead
	if err != nil {
		there.Close()
		return
	}
	_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
	pipe := func(to net.Conn, from io.Reader) {
		_, _ = io.Copy(to, from)
		to.Close()
	}
	var back sync.WaitGroup
	back.Go(func() { pipe(here, there) })
	pipe(there, buffered)
	back.Wait()
}

func (e *egress) take() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	asked := strings.Join(e.asked, ", ")
	e.asked = nil
	return asked
}

// throughProxy is what the tests need: http and https apps that only the proxy can
// reach, and callbacks that go through it.
type throughProxy struct {
	*egress
	c    *Callbacks
	got  chan http.Header // what the apps received
	logs *logBuffer
}

func newThroughProxy(t testing.TB, user *url.Userinfo) *throughProxy {
	t.Helper()
	p := &throughProxy{got: make(chan http.Header, 100), logs: &logBuffer{}}
	handler := func(w http.ResponseWriter, r *http.Request) {
		p.got <- r.Header.Clone()
		_, _ = io.WriteString(w, "5")
	}
	ca := newAuthority(t)
	plain := newApp(t, handler)
	confused := newApp(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Proxy-Authenticate", "Basic") // which stays with the proxy
		w.WriteHeader(http.StatusProxyAuthRequired)
	})
	secure, wrong := ca.server(handler, time.Time{}, "app.example"), ca.server(handler, time.Time{}, "127.0.0.1")
	at := func(s *httptest.Server) string { return s.Listener.Addr().String() }
	p.egress = newEgress(t, map[string]string{
		"app.example": at(plain.Server), "app.example:443": at(secure), "wrong.example:443": at(wrong), "confused.example": at(confused.Server), "dead.example": "127.0.0.1:1", "dead.example:443": "127.0.0.1:1",
	})
	p.c = newCallbacks(t, CallbackOptions{
		Policy: Policy{Proxy: p.url(t, user), CA: []*x509.Certificate{ca.certificate}, Timeout: 10 * time.Second},
		Log:    slog.New(slog.NewTextHandler(p.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	return p
}

// send tries an event and an invocation, and checks that no error shows what it
// should not.
func (p *throughProxy) send(t testing.TB, target string) (engine.Outcome, error) {
	t.Helper()
	out := p.c.Send(context.Background(), eventAttempt(target))
	_, err := p.c.Invoke(context.Background(), registration(target), invocation())
	text := p.logs.String()
	for _, err := range []error{out.Err, err} {
		if err != nil {
			text += err.Error()
		}
	}
	for _, hidden := range []string{proxyPassword, base64.StdEncoding.EncodeToString([]byte("bridge:" + proxyPassword)), "bridge:", p.Listener.Addr().String()} {
		if strings.Contains(text, hidden) {
			t.Errorf("%s: an error or the log shows %q: %s", target, hidden, text)
		}
	}
	return out, err
}

func TestCallbacksGoThroughTheProxy(t *testing.T) {
	p := newThroughProxy(t, url.UserPassword("bridge", proxyPassword))
	for target, asked := range map[string]string{"http://app.example/hook": "POST app.example, POST app.example", "https://app.example/hook": "CONNECT app.example:443"} {
		out, err := p.send(t, target)
		if !out.Done || err != nil {
			t.Errorf("%s: got %+v, %v", target, out, err)
			continue
		}
		if got := p.take(); got != asked {
			t.Errorf("%s: the proxy was asked: %s", target, got)
		}
		for range 2 {
			h := <-p.got
			if h.Get("Proxy-Authorization") != "" || h.Get("Authorization") != "" || h.Get("Webhook-Signature") == "" {
				t.Errorf("%s: the app got %v", target, h)
			}
		}
	}
	// TLS is between the bridge and the app: the proxy cannot stand in for it.
	out, err := p.send(t, "https://wrong.example/")
	if out.Done || out.Ours || core.CodeOf(err) != core.CallbackFailed || !strings.Contains(err.Error(), "another host name") {
		t.Errorf("got %+v, %v", out, err)
	}
	// Literal addresses and names that always mean one are checked all the same.
	p.take()
	for _, target := range []string{
		"http://127.0.0.1/", "https://10.0.0.1/", "http://[::ffff:7f00:1]/", "http://localhost/", "http://metadata.google.internal/", "http://2130706433/", "http://\u2460\u2461\u2466.0.0.1/",
	} {
		out, err := p.send(t, target)
		if core.CodeOf(out.Err) != core.CallbackForbidden || core.CodeOf(err) != core.CallbackFailed || p.take() != "" {
			t.Errorf("%s: got %+v, %v", target, out, err)
		}
	}
}

// Whose fault it is decides whether the attempt counts.
func TestProxyThatDoesNotWork(t *testing.T) {
	targets := []string{"http://app.example/hook", "https://app.example/hook"}
	user := url.UserPassword("bridge", proxyPassword)
	p := newThroughProxy(t, user)
	type want struct {
		ours bool
		code core.Code // of an event's outcome
	}
	ours, failed, forbids := want{true, core.Unavailable}, want{false, core.CallbackFailed}, want{false, core.CallbackForbidden}
	check := func(p *throughProxy, what, target string, w want) {
		t.Helper()
		out, err := p.send(t, target)
		if out.Done || out.Ours != w.ours || core.CodeOf(out.Err) != w.code || err == nil {
			t.Errorf("%s, %s: got %+v, %v", what, target, out, err)
		}
	}
	check(p, "the app is dead", "http://dead.example/", failed)
	check(p, "the app says 407", "http://confused.example/", failed)
	check(p, "the app is dead", "https://dead.example/", failed)
	for _, status := range []int{http.StatusProxyAuthRequired, http.StatusBadGateway, http.StatusForbidden, http.StatusMethodNotAllowed} {
		p.answer.Store(int64(status))
		what := "the proxy answers " + decimal(status)
		// For plain http the proxy's own answers cannot be told from the app's, but
		// for the one that only a proxy gives.
		plain := map[int]want{http.StatusProxyAuthRequired: ours}
		secure := map[int]want{http.StatusProxyAuthRequired: ours, http.StatusForbidden: forbids, http.StatusMethodNotAllowed: ours}
		for i, answers := range []map[int]want{plain, secure} {
			w, special := answers[status]
			if !special {
				w = failed
			}
			check(p, what, targets[i], w)
		}
	}
	for _, target := range targets {
		check(newThroughProxy(t, nil), "no password", target, ours)
		check(newThroughProxy(t, url.UserPassword("bridge", "wrong")), "a wrong password", target, ours)
	}
	p.answer.Store(0)
	p.CloseClientConnections()
	p.Close()
	for _, target := range targets {
		check(p, "the proxy is down", target, ours)
	}
	rude := rawServer(t, func(conn net.Conn) { _, _ = http.ReadRequest(bufio.NewReader(conn)) })
	hangsUp := newThroughProxy(t, nil)
	hangsUp.c.SetPolicy(Policy{Proxy: &url.URL{Scheme: "http", Host: rude, User: user}})
	for _, target := range targets {
		check(hangsUp, "the proxy hangs up", target, ours)
	}
}

// A SOCKS proxy that cannot reach the app says so; one that is broken does not get
// that far (RFC 1928, sections 3 and 6).
func TestSOCKSProxy(t *testing.T) {
	for _, tt := range []struct {
		name  string
		speak string // after the client's greeting, and after its request
		reply byte
		ours  bool
		code  core.Code
	}{
		{"refused", "\x05\x00", 5, false, core.CallbackFailed},
		{"unreachable", "\x05\x00", 4, false, core.CallbackFailed},
		{"not allowed", "\x05\x00", 2, false, core.CallbackForbidden},
		{"broken", "\x05\x00", 1, true, core.Unavailable},
		{"no way to authenticate", "\x05\xff", 0, true, core.Unavailable},
		{"hangs up", "", 0, true, core.Unavailable},
	} {
		address := rawServer(t, func(conn net.Conn) {
			buf := make([]byte, 512)
			if _, err := conn.Read(buf); err != nil || tt.speak == "" {
				return
			}
			_, _ = io.WriteString(conn, tt.speak)
			if _, err := conn.Read(buf); err != nil {
				return
			}
			_, _ = conn.Write([]byte{5, tt.reply, 0, 1, 0, 0, 0, 0, 0, 0})
		})
		c := newCallbacks(t, CallbackOptions{Policy: Policy{Proxy: &url.URL{Scheme: "socks5", Host: address}}})
		out := c.Send(context.Background(), eventAttempt("http://app.example/"))
		if out.Done || out.Ours != tt.ours || core.CodeOf(out.Err) != tt.code || strings.Contains(out.Err.Error(), "127.0.0.1") {
			t.Errorf("%s: got %+v", tt.name, out)
		}
	}
}
