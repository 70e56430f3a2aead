package tests

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/anybridge/anybridge/backends/irc/irctest"
	"github.com/anybridge/anybridge/backends/redis/redistest"
	"github.com/anybridge/anybridge/backends/xmpp/xmpptest"
)

// outageGate is the way from the bridge to a server. While it is closed connections are
// refused, as they are where no server is.
type outageGate struct {
	address string // where the bridge finds it
	to      string
	listen  net.Listener
}

func newOutageGate(t *testing.T, to string) *outageGate {
	t.Helper()
	g := &outageGate{address: quietAddress(t), to: to}
	t.Cleanup(g.close)
	return g
}

func (g *outageGate) open(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", g.address)
	if err != nil {
		t.Fatal(err)
	}
	g.listen = l
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", g.to)
			if err != nil {
				from.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
				go func() {
					_, _ = io.Copy(way[0], way[1])
					from.Close()
					to.Close()
				}()
			}
		}
	}()
}

// close takes no more connections. Those there are end with the server.
func (g *outageGate) close() {
	if g.listen != nil {
		g.listen.Close()
	}
}

// outageRedis is a Redis server; its client is redis-cli.
type outageRedis struct {
	*redistest.Server
	gate *outageGate

	mu    sync.Mutex
	input io.WriteCloser // of the redis-cli that speaks
}

func newOutageRedis(t *testing.T) *outageSystem {
	t.Helper()
	s := &outageRedis{Server: redistest.Prepare(t)}
	s.gate = newOutageGate(t, s.Addr)
	return newOutageSystem("redis", s, s.gate)
}

func (s *outageRedis) config() string {
	return fmt.Sprintf(`{kind: redis, url: "redis://%s", format: json}`, s.gate.address)
}

func (s *outageRedis) topic(of string) string { return "outage." + of }

func (s *outageRedis) kill() { s.Kill() }

func (s *outageRedis) restart(t *testing.T, heard func(topic, text string)) {
	t.Helper()
	s.Start()
	listener := s.Command(t.Context(), "SUBSCRIBE", s.topic("light"), s.topic("safe"), s.topic("feed"))
	out, err := listener.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	speaker := s.Command(t.Context())
	input, err := speaker.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []*exec.Cmd{listener, speaker} {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	subscribed := make(chan struct{})
	go func() {
		defer func() { _ = listener.Wait() }()
		var last [3]string // a message is three lines: "message", the channel, and the text
		count := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			last[0], last[1], last[2] = last[1], last[2], lines.Text()
			switch last[0] {
			case "message":
				heard(last[1], last[2])
				last = [3]string{}
			case "subscribe":
				if count++; count == 3 {
					close(subscribed)
				}
			}
		}
	}()
	<-subscribed
	s.mu.Lock()
	before := s.input
	s.input = input
	s.mu.Unlock()
	if before != nil {
		before.Close()
	}
	t.Cleanup(func() {
		input.Close()
		_ = speaker.Wait()
	})
}

func (s *outageRedis) say(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = fmt.Fprintf(s.input, "PUBLISH %s %d\n", s.topic("feed"), n)
}

// outageIRC is an IRC server; its clients are plain sockets.
type outageIRC struct {
	*irctest.Server
	gate  *outageGate
	lives int

	mu      sync.Mutex
	speaker net.Conn
}

func newOutageIRC(t *testing.T) *outageSystem {
	t.Helper()
	s := &outageIRC{Server: irctest.StartInspIRCd(t, irctest.Options{})}
	s.gate = newOutageGate(t, s.Addr)
	return newOutageSystem("irc", s, s.gate)
}

func (s *outageIRC) config() string {
	return fmt.Sprintf(`{kind: irc, server: "%s", tls: false, nick: bridge, flood: {interval: 0s}}`, s.gate.address)
}

func (s *outageIRC) topic(of string) string { return "#" + of }

func (s *outageIRC) kill() { s.Kill() }

func (s *outageIRC) restart(t *testing.T, heard func(topic, text string)) {
	t.Helper()
	if s.lives++; s.lives > 1 { // it runs already
		s.Start(t)
	}
	joined := make(chan struct{}, 10)
	s.join(t, fmt.Sprintf("far%d", s.lives), "#light,#safe,#feed", func(line string) {
		fields := strings.SplitN(line, " ", 4)
		switch {
		case len(fields) < 3:
		case fields[1] == "366": // the end of the names of a channel
			joined <- struct{}{}
		case fields[1] == "PRIVMSG" && len(fields) == 4:
			heard(fields[2], strings.TrimPrefix(fields[3], ":"))
		}
	})
	speaker := s.join(t, fmt.Sprintf("talker%d", s.lives), "#feed", func(line string) {
		if strings.Contains(line, " 366 ") {
			joined <- struct{}{}
		}
	})
	for range 4 {
		<-joined
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.speaker = speaker
}

// join connects a client that joins channels and hands over the lines it gets.
func (s *outageIRC) join(t *testing.T, nick, channels string, got func(line string)) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "NICK %s\r\nUSER %s 0 * :%s\r\n", nick, nick, nick)
	go func() {
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			line := strings.TrimSuffix(lines.Text(), "\r")
			if token, ok := strings.CutPrefix(line, "PING "); ok {
				fmt.Fprintf(conn, "PONG %s\r\n", token)
			}
			if strings.Contains(line, " 001 ") {
				fmt.Fprintf(conn, "JOIN %s\r\n", channels)
			}
			got(line)
		}
	}()
	return conn
}

func (s *outageIRC) say(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.speaker, "PRIVMSG #feed :%d\r\n", n)
}

// outageXMPP is an XMPP server; its client is slixmpp's.
type outageXMPP struct {
	*xmpptest.Server
	gate  *outageGate
	lives int

	mu     sync.Mutex
	client *xmpptest.Client
	t      *testing.T
}

func newOutageXMPP(t *testing.T) *outageSystem {
	t.Helper()
	s := &outageXMPP{Server: xmpptest.Start(t), t: t}
	s.gate = newOutageGate(t, s.Addr)
	return newOutageSystem("xmpp", s, s.gate)
}

func (s *outageXMPP) config() string {
	return fmt.Sprintf(`{kind: xmpp, jid: %s, password: %s, server: "%s", tls: {ca: %q}}`,
		s.Account(s.t, "anybridge"), xmpptest.Password("anybridge"), s.gate.address, s.CA)
}

func (s *outageXMPP) topic(of string) string { return of + "@" + xmpptest.Rooms }

func (s *outageXMPP) kill() { s.Kill() }

func (s *outageXMPP) restart(t *testing.T, heard func(topic, text string)) {
	t.Helper()
	if s.lives++; s.lives > 1 { // it runs already
		s.Restart(t)
	}
	client := s.Client(t, fmt.Sprintf("far%d", s.lives))
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	go func() {
		for {
			select {
			case e := <-client.Events():
				from, _ := e["from"].(string)
				body, _ := e["body"].(string)
				if room, _, _ := strings.Cut(from, "/"); e["event"] == "message" && e["type"] == "groupchat" && body != "" {
					heard(room, body)
				}
			case <-over:
				return
			}
		}
	}()
	for _, of := range []string{"light", "safe", "feed"} {
		room := s.topic(of)
		client.Do(t, "join", map[string]any{"room": room, "nick": "far"})
		// A room that is new is opened to others by its owner.
		client.Do(t, "iq", map[string]any{"to": room, "type": "set",
			"xml": `<query xmlns="http://jabber.org/protocol/muc#owner"><x xmlns="jabber:x:data" type="submit"/></query>`})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client = client
}

func (s *outageXMPP) say(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client.Do(s.t, "send_text", map[string]any{"to": s.topic("feed"), "body": fmt.Sprint(n), "type": "groupchat"})
}
