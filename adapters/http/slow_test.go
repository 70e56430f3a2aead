package rest

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
)

// hurried are limits under which slow clients are found out soon.
func hurried() Limits {
	return Limits{
		HeaderTimeout: 200 * time.Millisecond, ReadTimeout: 300 * time.Millisecond,
		WriteTimeout: 300 * time.Millisecond, IdleTimeout: 200 * time.Millisecond,
	}
}

// dial connects to the bridge from an address of this machine.
func (f *fixture) dial(from string) net.Conn {
	f.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", strings.TrimPrefix(f.URL, "http://"))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	return conn
}

// empty waits until nobody is connected.
func (f *fixture) empty() {
	f.t.Helper()
	eventually(f.t, func() bool { return f.front.conns.now() == 0 })
}

// drip sends the text byte by byte until the server hangs up.
func drip(conn net.Conn, text string) {
	for i := 0; ; i = (i + 1) % len(text) {
		if _, err := io.WriteString(conn, text[i:i+1]); err != nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestDrippingClientsAreCutOff(t *testing.T) {
	f := newFixture(t, setup{limits: hurried()})
	const start = "POST /call/com.shop.add2/ HTTP/1.1\r\nHost: bridge\r\n"
	for name, client := range map[string]struct{ start, drip string }{
		"request line":     {"", "P"},
		"header":           {start, "X-A: b\r\n"},
		"body":             {start + "Authorization: Bearer " + shopToken + "\r\nContent-Length: 100000\r\n\r\n", " "},
		"body of nobody":   {start + "Authorization: Bearer wrong\r\nContent-Length: 100000\r\n\r\n", " "},
		"chunked body":     {start + "Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n"},
		"no byte after it": {start + "Content-Length: 0\r\n\r\n", "\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := f.dial("127.0.0.1")
			begun := time.Now()
			if _, err := io.WriteString(conn, client.start); err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			drip(conn, client.drip)
			// The deadlines, and half a second in which the server lingers for the
			// client to read what it answered.
			if took := time.Since(begun); took > 3*time.Second {
				t.Errorf("it took %s", took)
			}
			f.want(200, "POST", "/call/com.shop.add2/", `{"args": [2, 3]}`)
			f.empty()
		})
	}
}

// Who asks and asks and never reads the answers is cut off.
func TestClientsThatNeverReadAreCutOff(t *testing.T) {
	f := newFixture(t, setup{limits: hurried()})
	for name, request := range map[string]string{
		"small answers": "POST /call/com.shop.add2/ HTTP/1.1\r\nHost: bridge\r\nAuthorization: Bearer " + shopToken + "\r\nContent-Length: 16\r\n\r\n" + `{"args": [2, 3]}`,
		"large answers": "GET /openapi.json HTTP/1.1\r\nHost: bridge\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn := f.dial("127.0.0.1")
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				for {
					if _, err := io.WriteString(conn, request); err != nil {
						return
					}
				}
			}()
			select {
			case <-gone:
			case <-time.After(20 * time.Second):
				t.Error("the client is still connected")
				conn.Close()
			}
			f.want(200, "POST", "/call/com.shop.add2/", `{"args": [2, 3]}`)
			f.empty()
		})
	}
}

// An answer that took its time is written, in time, on HTTP/1.1 and on HTTP/2.
func TestLateAnswersAreWritten(t *testing.T) {
	f := newFixture(t, setup{limits: hurried()})
	f.wamp.own["com.shop.slow"] = func(ctx context.Context, _ *core.Call) (*core.Result, error) {
		select {
		case <-time.After(3 * hurried().WriteTimeout):
			return &core.Result{}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f.want(200, "POST", "/call/com.shop.slow/", `{}`)

	secure := httptest.NewTLSServer(nil)
	defer secure.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- f.front.Serve(tls.NewListener(l, &tls.Config{Certificates: secure.TLS.Certificates, NextProtos: []string{"h2"}}), nil)
	}()
	transport := secure.Client().Transport.(*http.Transport).Clone()
	transport.ForceAttemptHTTP2 = true
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+l.Addr().String()+"/call/com.shop.slow/", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+shopToken)
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode != http.StatusOK {
		t.Errorf("got %s %s", resp.Proto, resp.Status)
	}
	transport.CloseIdleConnections()
	f.empty()
	l.Close()
	<-served
}

// Thousands of connections that do nothing leave room for others, and are freed.
func TestIdleConnectionsAreBounded(t *testing.T) {
	const most, perAddress, tried = 1200, 1000, 1500
	lim := hurried()
	lim.HeaderTimeout, lim.ReadTimeout = 3*time.Second, 3*time.Second
	lim.MaxConnections, lim.MaxConnectionsPerAddress = most, perAddress
	f := newFixture(t, setup{limits: lim})
	for range tried {
		f.dial("127.0.0.2")
	}
	eventually(t, func() bool { return f.front.conns.refused.Load() == tried-perAddress })
	for range 20 {
		f.want(200, "POST", "/call/com.shop.add2/", `{"args": [2, 3]}`)
	}
	if n := f.front.conns.now(); n < perAddress || n > most {
		t.Errorf("%d are connected", n)
	}
	f.empty()
}

func TestTooManyConnectionsAreToldSo(t *testing.T) {
	f := newFixture(t, setup{limits: Limits{MaxConnections: 2}})
	f.dial("127.0.0.1")
	f.dial("127.0.0.2")
	eventually(t, func() bool { return f.front.conns.now() == 2 })
	resp, err := http.ReadResponse(bufio.NewReader(f.dial("127.0.0.3")), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "1" || string(body) != "too many connections\n" {
		t.Errorf("got %s %v %s", resp.Status, resp.Header, body)
	}
}
