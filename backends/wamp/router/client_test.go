package router

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gorilla/websocket"
)

// patience is how long a test waits for something that must happen.
const patience = 20 * time.Second

// start runs a router until the test ends; then it must close within patience.
func start(t testing.TB, cfg Config) *Router {
	t.Helper()
	r := newRouter(t, cfg)
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

func newRouter(t testing.TB, cfg Config) *Router {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Realms == nil {
		cfg.Realms = []Realm{"realm1"}
	}
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	r, err := New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Error(err)
		}
		if n := r.Counters()["events_dropped"]; n != 0 {
			t.Errorf("%d events dropped", n)
		}
	})
	return r
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// everything allows anonymous sessions all there is.
func everything() *Anonymous { return &Anonymous{Allow: []string{"*"}} }

// transport names a way to connect.
type transport struct {
	raw bool
	ser wire.Serialization
}

func (tr transport) String() string {
	if tr.raw {
		return "rawsocket-" + tr.ser.String()
	}
	return "websocket-" + tr.ser.String()
}

func transports() (out []transport) {
	for _, raw := range []bool{false, true} {
		for _, ser := range []wire.Serialization{wire.JSON, wire.MsgPack, wire.CBOR} {
			out = append(out, transport{raw, ser})
		}
	}
	return out
}

// peer is a client that does nothing by itself.
type peer struct {
	t    testing.TB
	tr   transport
	conn net.Conn
	r    *bufio.Reader
	ws   *websocket.Conn
	id   wamp.ID
	next wamp.ID

	writing sync.Mutex
	waits   time.Duration // for a message; patience if 0
}

func dial(t testing.TB, r *Router, tr transport) *peer {
	t.Helper()
	p, err := connect(r, tr, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.t = t
	t.Cleanup(p.close)
	return p
}

func connect(r *Router, tr transport, conf *tls.Config) (*peer, error) {
	u, err := url.Parse(r.URLs()[0])
	if err != nil {
		return nil, err
	}
	if tr.raw {
		return connectRaw(u.Host, tr.ser, 15, conf)
	}
	p := &peer{tr: tr}
	d := websocket.Dialer{Subprotocols: []string{tr.ser.Subprotocol()}, TLSClientConfig: conf, HandshakeTimeout: patience}
	if p.ws, _, err = d.Dial(u.String(), nil); err != nil {
		return nil, err
	}
	p.conn = p.ws.NetConn()
	return p, nil
}

// connectRaw does a RawSocket handshake that takes messages of 2^(9+exponent) bytes.
func connectRaw(host string, ser wire.Serialization, exponent byte, conf *tls.Config) (p *peer, err error) {
	p = &peer{tr: transport{true, ser}}
	if conf != nil {
		p.conn, err = tls.Dial("tcp", host, conf)
	} else {
		p.conn, err = net.Dial("tcp", host)
	}
	if err != nil {
		return nil, err
	}
	p.r = bufio.NewReader(p.conn)
	if _, err := p.conn.Write([]byte{rawMagic, exponent<<4 | ser.RawSocketID(), 0, 0}); err != nil {
		return nil, err
	}
	var hello [4]byte
	if _, err := io.ReadFull(p.r, hello[:]); err != nil {
		return nil, err
	}
	if hello[0] != rawMagic || hello[1]&0xf != ser.RawSocketID() {
		return nil, fmt.Errorf("handshake answered %x", hello)
	}
	return p, nil
}

// listens is where a started router listens.
func listens(r *Router) string {
	u, err := url.Parse(r.URLs()[0])
	if err != nil {
		return ""
	}
	return u.Host
}

func (p *peer) close() { _ = p.conn.Close() }

// write sends the bytes of one message.
func (p *peer) write(frame []byte) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	if err := p.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if p.ws != nil {
		kind := websocket.TextMessage
		if p.tr.ser.Binary() {
			kind = websocket.BinaryMessage
		}
		return p.ws.WriteMessage(kind, frame)
	}
	n := len(frame)
	_, err := p.conn.Write(append([]byte{0, byte(n >> 16), byte(n >> 8), byte(n)}, frame...))
	return err
}

func (p *peer) send(m wamp.Message) {
	p.t.Helper()
	frame, err := wire.Append(nil, p.tr.ser, m)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.write(frame); err != nil {
		p.t.Fatal(err)
	}
}

// text sends a message written in JSON, whatever the serialisation.
func (p *peer) text(format string, args ...any) {
	p.t.Helper()
	b, err := wire.Convert(nil, wire.JSON, p.tr.ser, fmt.Appendf(nil, format, args...))
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.write(b); err != nil {
		p.t.Fatal(err)
	}
}

// read returns the next message.
func (p *peer) read() (wamp.Message, error) {
	frame, err := p.readFrame()
	if err != nil {
		return nil, err
	}
	return wire.Decode(p.tr.ser, frame, wire.Limits{})
}

func (p *peer) readFrame() ([]byte, error) {
	if err := p.conn.SetReadDeadline(time.Now().Add(max(p.waits, patience))); err != nil {
		return nil, err
	}
	if p.ws != nil {
		_, frame, err := p.ws.ReadMessage()
		return frame, err
	}
	var head [4]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, int(head[1])<<16|int(head[2])<<8|int(head[3]))
	_, err := io.ReadFull(p.r, frame)
	return frame, err
}

func (p *peer) recv() wamp.Message {
	p.t.Helper()
	m, err := p.read()
	if err != nil {
		p.t.Fatalf("read: %v", err)
	}
	return m
}

// expect reads the next message, which must be an M.
func expect[M wamp.Message](p *peer) M {
	p.t.Helper()
	got := p.recv()
	m, ok := got.(M)
	if !ok {
		p.t.Fatalf("got %v %+v, want %T", got.MessageType(), show(got), m)
	}
	return m
}

// ended reads until the connection ends and returns the last message.
func (p *peer) ended() (last wamp.Message) {
	p.t.Helper()
	for {
		m, err := p.read()
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				p.t.Fatal("the connection did not end")
			}
			return last
		}
		last = m
	}
}

// aborted expects the session to end with an ABORT that says something.
func (p *peer) aborted(reason wamp.URI, contains string) {
	p.t.Helper()
	last := p.ended()
	m, ok := last.(*wamp.Abort)
	if !ok {
		p.t.Fatalf("ended with %T, want ABORT", last)
	}
	text, _ := m.Details["message"].(string)
	if m.Reason != reason || !strings.Contains(text, contains) {
		p.t.Fatalf("ABORT %s %q, want %s …%s…", m.Reason, text, reason, contains)
	}
}

func show(m wamp.Message) any {
	if e, ok := m.(*wamp.Error); ok {
		return fmt.Sprintf("%s %v", e.Error, values(m))
	}
	if a, ok := m.(*wamp.Abort); ok {
		return fmt.Sprintf("%s %v", a.Reason, a.Details)
	}
	return m
}

// hello is a HELLO with all features.
func hello(realm string, more wamp.Dict) *wamp.Hello {
	d := wamp.Dict{"roles": allRoles()}
	for k, v := range more {
		d[k] = v
	}
	return &wamp.Hello{Realm: wamp.URI(realm), Details: d}
}

// join joins realm1 anonymously.
func join(t testing.TB, r *Router, tr transport) *peer {
	t.Helper()
	p := dial(t, r, tr)
	p.enter(hello("realm1", nil))
	return p
}

func (p *peer) enter(h *wamp.Hello) *wamp.Welcome {
	p.t.Helper()
	p.send(h)
	w := expect[*wamp.Welcome](p)
	p.id = w.ID
	return w
}

func (p *peer) request() wamp.ID { p.next++; return p.next }

func (p *peer) subscribe(topic string, options wamp.Dict) wamp.ID {
	p.t.Helper()
	p.send(&wamp.Subscribe{Request: p.request(), Options: options, Topic: wamp.URI(topic)})
	return expect[*wamp.Subscribed](p).Subscription
}

func (p *peer) register(procedure string, options wamp.Dict) wamp.ID {
	p.t.Helper()
	p.send(&wamp.Register{Request: p.request(), Options: options, Procedure: wamp.URI(procedure)})
	return expect[*wamp.Registered](p).Registration
}

func (p *peer) publish(topic string, options wamp.Dict, args ...any) wamp.ID {
	p.t.Helper()
	o := wamp.Dict{"acknowledge": true}
	for k, v := range options {
		o[k] = v
	}
	p.send(&wamp.Publish{Request: p.request(), Options: o, Topic: wamp.URI(topic), Arguments: args})
	return expect[*wamp.Published](p).Publication
}

func (p *peer) call(procedure string, options wamp.Dict, args ...any) wamp.ID {
	p.t.Helper()
	id := p.request()
	p.send(&wamp.Call{Request: id, Options: options, Procedure: wamp.URI(procedure), Arguments: args})
	return id
}

// failed expects an ERROR.
func (p *peer) failed(uri wamp.URI) *wamp.Error {
	p.t.Helper()
	e := expect[*wamp.Error](p)
	if e.Error != uri {
		p.t.Fatalf("ERROR %s %v, want %s", e.Error, values(e), uri)
	}
	return e
}

// sync makes sure that everything the peer has sent was processed by the broker and
// the dealer, and that nothing unexpected came back.
func (p *peer) sync() {
	p.t.Helper()
	p.publish("test.sync", nil)
	id := p.call("test.no_such_procedure", nil)
	if e := p.failed(wamp.ErrNoSuchProcedure); e.Request != id {
		p.t.Fatalf("ERROR for request %d, want %d", e.Request, id)
	}
}

// values are the args of a message, as JSON would have them.
func values(m wamp.Message) []any {
	p := wire.PayloadOf(m)
	if p == nil {
		return nil
	}
	b, err := p.Args(wire.JSON)
	if err != nil {
		return []any{err}
	}
	var out []any
	if b != nil && json.Unmarshal(b, &out) != nil {
		return []any{string(b)}
	}
	return out
}

func wantArgs(t testing.TB, m wamp.Message, want ...any) {
	t.Helper()
	got := values(m)
	if len(got) == 0 && len(want) == 0 {
		return
	}
	for i, v := range want {
		if n, ok := v.(int); ok {
			want[i] = float64(n)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("args %v, want %v", got, want)
	}
}

// eventually waits for a condition that other goroutines bring about and that has no
// event to wait for.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
