package router

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gorilla/websocket"
)

// certificate writes a self-signed certificate for 127.0.0.1.
func certificate(t *testing.T) (*TLS, *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := &TLS{Cert: filepath.Join(t.TempDir(), "cert.pem"), Key: filepath.Join(t.TempDir(), "key.pem")}
	for name, block := range map[string]*pem.Block{files.Cert: {Type: "CERTIFICATE", Bytes: der}, files.Key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return files, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
}

func TestTLS(t *testing.T) {
	files, conf := certificate(t)
	r := start(t, Config{TLS: files})
	if u := r.URLs(); !strings.HasPrefix(u[0], "wss://") || !strings.HasPrefix(u[1], "rss://") {
		t.Errorf("URLs %v", u)
	}
	for _, tr := range transports() {
		p, err := connect(r, tr, conf)
		if err != nil {
			t.Fatal(err)
		}
		p.t = t
		p.enter(hello("realm1", nil))
		p.sync()
		p.send(&wamp.Goodbye{Reason: wamp.CloseNormal, Details: wamp.Dict{}})
		expect[*wamp.Goodbye](p)
		p.close()
	}
	old := conf.Clone()
	old.MaxVersion = tls.VersionTLS11
	old.MinVersion = tls.VersionTLS10
	if p, err := connect(r, rsJSON, old); err == nil {
		p.close()
		t.Error("TLS 1.1 was accepted")
	}
	if c, err := net.Dial("tcp", listens(r)); err == nil {
		_, _ = c.Write([]byte("GET /ws HTTP/1.1\r\n\r\n"))
		_, _ = io.Copy(io.Discard, c) // ends
		_ = c.Close()
	}
}

func TestPlainHTTP(t *testing.T) {
	r := start(t, Config{})
	at := "http://" + listens(r)
	for path, want := range map[string]struct {
		status int
		text   string
	}{
		"/ws": {http.StatusUpgradeRequired, "wamp.2.json"}, "/": {http.StatusNotFound, "/ws"}, "/x": {http.StatusNotFound, "/ws"},
	} {
		resp, err := http.Get(at + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != want.status || !strings.Contains(string(body), want.text) {
			t.Errorf("%s: %d %q", path, resp.StatusCode, body)
		}
	}
	for _, text := range []string{"GET " + strings.Repeat("x", 20_000), "\x00\x01\x02", "POST /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n"} {
		c, err := net.Dial("tcp", listens(r))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(text + "\r\n\r\n"))
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%.20q: %v", text, err)
		}
		_ = c.Close()
	}
	d := websocket.Dialer{Subprotocols: []string{"soap"}}
	if _, resp, err := d.Dial(r.URLs()[0], nil); err == nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("unknown subprotocol: %v", err)
	}
	// The client's preference counts.
	d.Subprotocols = []string{"soap", "wamp.2.msgpack", "wamp.2.json"}
	c, _, err := d.Dial(r.URLs()[0], nil)
	if err != nil || c.Subprotocol() != "wamp.2.msgpack" {
		t.Fatalf("%v", err)
	}
	_ = c.Close()
}

func TestOrigins(t *testing.T) {
	for _, c := range []struct {
		listen  string
		origins []string
		host    string
		origin  string
		want    bool
	}{
		{"127.0.0.1:1", nil, "127.0.0.1:1", "", true},
		{"127.0.0.1:1", nil, "127.0.0.1:1", "http://localhost:3000", true},
		{"127.0.0.1:1", nil, "127.0.0.1:1", "http://127.0.0.1:5173", true},
		{"127.0.0.1:1", nil, "127.0.0.1:1", "https://evil.example", false},
		{"127.0.0.1:1", nil, "evil.example:1", "http://evil.example:1", false}, // a name rebound to 127.0.0.1
		{"127.0.0.1:1", nil, "127.0.0.1:1", "null", false},
		{"0.0.0.0:1", nil, "app.example:1", "http://app.example:1", true},
		{"0.0.0.0:1", nil, "app.example:1", "http://evil.example", false},
		{"0.0.0.0:1", []string{"*"}, "x", "http://evil.example", true},
		{"0.0.0.0:1", []string{"https://app.example"}, "x", "https://app.example", true},
		{"0.0.0.0:1", []string{"https://app.example"}, "x", "http://app.example", false},
		{"0.0.0.0:1", []string{"App.Example"}, "x", "http://app.example:8000", true},
		{"0.0.0.0:1", []string{"*.example"}, "x", "http://a.b.example", true},
		{"0.0.0.0:1", []string{"*.example"}, "x", "http://badexample", false},
	} {
		st, err := newSettings(Config{Listen: c.listen, Realms: []Realm{"r"}, Origins: c.origins})
		if err != nil {
			t.Fatal(err)
		}
		req := &http.Request{Host: c.host, Header: http.Header{}}
		if c.origin != "" {
			req.Header.Set("Origin", c.origin)
		}
		if got := st.originAllowed(req); got != c.want {
			t.Errorf("%s %v: origin %q at %s: %v", c.listen, c.origins, c.origin, c.host, got)
		}
	}
	r := start(t, Config{})
	d := websocket.Dialer{Subprotocols: []string{"wamp.2.json"}}
	if _, resp, err := d.Dial(r.URLs()[0], http.Header{"Origin": {"https://evil.example"}}); err == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("a foreign origin: %v", err)
	}
}

func TestRawSocketHandshake(t *testing.T) {
	r := start(t, Config{Limits: Limits{MaxMessage: 100_000}})
	for _, c := range []struct{ send, want []byte }{
		{[]byte{0x7f, 0xf1, 0, 0}, []byte{0x7f, 0x81, 0, 0}}, // 2^17, the next power of two
		{[]byte{0x7f, 0x03, 0, 0}, []byte{0x7f, 0x83, 0, 0}},
		{[]byte{0x7f, 0xf9, 0, 0}, []byte{0x7f, 0x10, 0, 0}},
		{[]byte{0x7f, 0xf0, 0, 0}, []byte{0x7f, 0x10, 0, 0}},
		{[]byte{0x7f, 0xf1, 0, 1}, []byte{0x7f, 0x30, 0, 0}},
	} {
		conn, err := net.Dial("tcp", listens(r))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(c.send); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4)
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%x answered %x (%v), want %x", c.send, got, err, c.want)
		}
		_ = conn.Close()
	}
}

func TestRawSocketPing(t *testing.T) {
	r := start(t, Config{})
	p := join(t, r, rsJSON)
	if _, err := p.conn.Write([]byte{rawPing, 0, 0, 3, 'a', 'b', 'c', rawPong, 0, 0, 1, 'x', rawPing, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 11)
	if _, err := io.ReadFull(p.r, got); err != nil || !bytes.Equal(got, []byte{rawPong, 0, 0, 3, 'a', 'b', 'c', rawPong, 0, 0, 0}) {
		t.Errorf("%x %v", got, err)
	}
	p.sync()
	if _, err := p.conn.Write([]byte{rawPing, 0x10, 0, 0}); err != nil {
		t.Fatal(err)
	}
	p.aborted(wamp.ErrProtocolViolation, "PING too long")
}

func TestMessageTooLong(t *testing.T) {
	r := start(t, Config{Limits: Limits{MaxMessage: 4096}})
	for _, tr := range []transport{wsJSON, rsJSON} {
		p := join(t, r, tr)
		p.publish("com.topic", nil, strings.Repeat("x", 3500))
		p.send(&wamp.Publish{Request: p.request(), Topic: "com.topic", Arguments: wamp.List{strings.Repeat("x", 4096)}})
		p.aborted(wamp.ErrProtocolViolation, "message too long")
	}
}

// A peer that answers pings stays, one that does not goes.
func TestKeepAlive(t *testing.T) {
	r := start(t, Config{Limits: Limits{PingInterval: Duration(1500 * time.Millisecond)}})
	answers, silent := join(t, r, wsJSON), join(t, r, wsJSON)
	pings := make(chan struct{}, 100)
	answers.ws.SetPingHandler(func(data string) error {
		pings <- struct{}{}
		answers.writing.Lock()
		defer answers.writing.Unlock()
		return answers.ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(patience))
	})
	read := make(chan error, 1)
	go func() {
		_, err := answers.read()
		read <- err
	}()
	for range 2 {
		select {
		case <-pings:
		case <-time.After(patience):
			t.Fatal("no ping")
		}
	}
	silent.ws.SetPingHandler(func(string) error { return nil })
	silent.ended()
	eventually(t, "one silent peer", func() bool { return r.Counters()["silent_peers_disconnected"] == 1 })
	select {
	case err := <-read:
		t.Errorf("the one that answers: %v", err)
	default:
	}
	answers.close()
	<-read
}

// A connection that says nothing does not stay.
func TestHandshakeTimeouts(t *testing.T) {
	r := start(t, Config{
		Limits:     Limits{HandshakeTimeout: Duration(100 * time.Millisecond)},
		Principals: map[string]Principal{"p": {Ticket: "t"}},
	})
	for name, begin := range map[string]func(net.Conn){
		"nothing":       func(net.Conn) {},
		"half a raw":    func(c net.Conn) { _, _ = c.Write([]byte{rawMagic, 0xf1}) },
		"half a header": func(c net.Conn) { _, _ = c.Write([]byte("GET /ws HTTP/1.1\r\nHost:")) },
		"no HELLO":      func(c net.Conn) { _, _ = c.Write([]byte{rawMagic, 0xf1, 0, 0}) },
	} {
		c, err := net.Dial("tcp", listens(r))
		if err != nil {
			t.Fatal(err)
		}
		begin(c)
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v", name, err)
		}
		_ = c.Close()
	}
	p := dial(t, r, wsJSON)
	p.send(withMethods("realm1", "p", "ticket"))
	expect[*wamp.Challenge](p)
	p.aborted(wamp.ErrAuthenticationFailed, "")
}

func TestMaxSessions(t *testing.T) {
	r := start(t, Config{Limits: Limits{MaxSessions: 2}})
	a := join(t, r, wsJSON)
	join(t, r, rsJSON)
	if p, err := connect(r, wsJSON, nil); err == nil {
		p.close()
		t.Error("a third connection was accepted")
	}
	a.close()
	eventually(t, "room again", func() bool { return r.Counters()["connections_now"] == 1 })
	join(t, r, wsJSON).sync()
}

// Frame heads of all three lengths, in both directions.
func TestFrameLengths(t *testing.T) {
	r := start(t, Config{})
	for _, tr := range transports() {
		p := join(t, r, tr)
		p.subscribe("com.topic", nil)
		for _, n := range []int{0, 60, 70, 80, 90, 100, 110, 120, 130, 65_400, 65_500, 65_600, 200_000} {
			p.send(&wamp.Publish{Request: p.request(), Topic: "com.topic", Options: wamp.Dict{"exclude_me": false}, Arguments: wamp.List{strings.Repeat("x", n)}})
			wantArgs(t, expect[*wamp.Event](p), strings.Repeat("x", n))
		}
		p.close()
	}
}
