package xmpp_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anybridge/anybridge/backends/xmpp/xmpptest"
	"github.com/anybridge/anybridge/core"
)

func TestServerKilled(t *testing.T) { onServers(t, testServerKilled) }

func testServerKilled(t *testing.T, start xmpptest.Starter) {
	server := start(t)
	one := open(t, section(t, server, "one", nil))
	two := open(t, section(t, server, "two", nil))
	topics := []string{"ops@" + xmpptest.Rooms, xmpptest.PubSub + "!orders", "two@" + xmpptest.Domain}
	heard := make([]*events, len(topics))
	for i, topic := range topics {
		heard[i] = subscribe(t, one, topic)
	}
	serve(t, one, "echo", echo)

	server.Kill()
	eventually(t, "it is noticed", func() bool { return status(t, one).State != core.Up })
	began := time.Now()
	for _, topic := range topics {
		if err := one.Publish(ctx(t), &core.Event{Topic: address(topic), Payload: core.TextPayload("x")}); core.CodeOf(err) != core.Unavailable {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took > time.Second {
		t.Fatalf("publishing took %s while the server was away", took)
	}
	if _, err := one.Subscribe(ctx(t), pattern("new@"+xmpptest.Rooms)); core.CodeOf(err) != core.Unavailable {
		t.Fatal(err)
	}
	server.Restart(t)
	up(t, one)
	up(t, two)
	for i, topic := range topics {
		if e := heard[i].next(); e.Gap == nil || e.Gap.Since.After(e.Gap.Until) || e.Gap.Since.Before(began.Add(-time.Minute)) {
			t.Fatalf("%s: no gap but %s", topic, e.Args)
		}
	}
	publish(t, two, topics[0], `["again"]`)
	publish(t, two, topics[1], `["again"]`)
	publish(t, two, "one@"+xmpptest.Domain, `["again"]`)
	for i, topic := range topics {
		if e := heard[i].next(); string(e.Args) != `["again"]` {
			t.Fatalf("%s: %s", topic, e.Args)
		}
	}
	if _, err := call(t, two, &core.Call{Procedure: address("one@xmpp.test/anybridge!echo")}); err != nil {
		t.Fatal(err)
	}
}

// proxy stands between a client and the server, and can break connections.
type proxy struct {
	addr  string
	mu    sync.Mutex
	conns []net.Conn
	l     net.Listener
}

func newProxy(t *testing.T, target string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), l: l}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			for _, c := range [][2]net.Conn{{in, out}, {out, in}} {
				work.Go(func() {
					_, _ = io.Copy(c[0], c[1])
					c[0].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.cut()
		work.Wait()
	})
	return p
}

// cut breaks all connections off.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		c.Close()
	}
	p.conns = nil
}

// A connection that breaks off is resumed: nothing is lost, nothing comes twice, and
// publishes that were on their way succeed.
func TestResume(t *testing.T) { onServers(t, testResume) }

func testResume(t *testing.T, start xmpptest.Starter) {
	server := start(t)
	p := newProxy(t, server.Addr)
	one := open(t, section(t, server, "one", map[string]any{"server": p.addr}))
	two := open(t, section(t, server, "two", nil))
	room := "ops@" + xmpptest.Rooms
	mine, theirs := subscribe(t, one, room), subscribe(t, two, room)
	const each = 300
	var sending sync.WaitGroup
	sending.Go(func() {
		for i := range each {
			for {
				e := &core.Event{Topic: address(room), Payload: core.Payload{Args: fmt.Appendf(nil, `["one",%d]`, i)}}
				err := one.Publish(ctx(t), e)
				if err == nil {
					break
				}
				if core.CodeOf(err) != core.Unavailable || !strings.Contains(err.Error(), "not connected") {
					t.Errorf("publish %d: %v", i, err)
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
	})
	sending.Go(func() {
		for i := range each {
			e := &core.Event{Topic: address(room), Payload: core.Payload{Args: fmt.Appendf(nil, `["two",%d]`, i)}}
			if err := two.Publish(ctx(t), e); err != nil {
				t.Errorf("publish %d: %v", i, err)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	for range 3 {
		time.Sleep(300 * time.Millisecond)
		p.cut()
		eventually(t, "it is noticed", func() bool { return status(t, one).State != core.Up })
		up(t, one)
	}
	for i := range each {
		if e := mine.next(); e.Gap != nil || string(e.Args) != fmt.Sprintf(`["two",%d]`, i) {
			t.Fatalf("%d: %s %+v", i, e.Args, e.Gap)
		}
		if e := theirs.next(); string(e.Args) != fmt.Sprintf(`["one",%d]`, i) {
			t.Fatalf("%d: %s", i, e.Args)
		}
	}
	sending.Wait()
	mine.none()
	if s := status(t, one); s.Counters["sessions_resumed"] != 3 || s.Counters["sessions_started"] != 1 {
		t.Fatal(s.Counters)
	}
}

// Without stream management a message to a user is accepted when the server has answered
// what came after it.
func TestWithoutStreamManagement(t *testing.T) { onServers(t, testWithoutStreamManagement) }

func testWithoutStreamManagement(t *testing.T, start xmpptest.Starter) {
	server := start(t, xmpptest.Options{Plaintext: true, NoStreamManagement: true})
	one := open(t, section(t, server, "one", map[string]any{"tls": "none"}))
	two := open(t, section(t, server, "two", map[string]any{"tls": "none"}))
	heard := subscribe(t, two, "inbox")
	for i := range 50 {
		publish(t, one, "two@"+xmpptest.Domain, fmt.Sprintf("[%d]", i))
		if e := heard.next(); string(e.Args) != fmt.Sprintf(`["%d"]`, i) && string(e.Args) != fmt.Sprintf(`[%d]`, i) {
			t.Fatal(string(e.Args))
		}
	}
	if n := status(t, one).Counters["send_queue_now"]; n != 0 {
		t.Fatal(n)
	}
}

// A server that stops talking without a word is noticed.
func TestFrozenServer(t *testing.T) {
	t.Parallel()
	server := xmpptest.Start(t)
	b := open(t, section(t, server, "one", map[string]any{"keepalive": "1s"}))
	time.Sleep(2500 * time.Millisecond)
	if n := status(t, b).Counters["connections_lost"]; n != 0 {
		t.Fatal("a silent connection was given up")
	}
	server.Freeze()
	defer server.Thaw()
	eventually(t, "it is noticed", func() bool { return status(t, b).State != core.Up })
	short, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := b.Publish(short, &core.Event{Topic: address("two@xmpp.test")}); core.CodeOf(err) != core.Unavailable {
		t.Fatal(err)
	}
	server.Thaw()
	up(t, b)
}
