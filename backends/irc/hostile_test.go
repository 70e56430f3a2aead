package irc_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anybridge/anybridge/backends/irc"
	"github.com/anybridge/anybridge/backends/irc/irctest"
	"github.com/anybridge/anybridge/core"
)

// hostileText makes text that would like to be more than text.
func hostileText(r *rand.Rand) string {
	parts := []string{
		"\r\n", "\n", "\r", "\x00", "\x01", "\x01ACTION ", "\x01DCC SEND x\x01", "QUIT :gone", "JOIN #injected", "PRIVMSG #other :injected", "NICK injected",
		":forged!u@h PRIVMSG #ops :x", "@label=x;time=1 ", " ", "\t", "\u2028", "\u0085", "é", "👩‍👩‍👧", "e\u0301", "\x02", "\x0304,05", "\x04FF0000", "\x1b[31m", "\x7f",
		"\xff\xfe", "\xc3", "\u202e", ":", "/quit", "PING :x", "\ufeff", strings.Repeat("x", 600), strings.Repeat("\u0301", 400), "CAP END", "!help",
	}
	var b strings.Builder
	for range 1 + r.IntN(8) {
		b.WriteString(parts[r.IntN(len(parts))])
	}
	return b.String()
}

// 10,000 hostile texts are published. An independent client sees messages of ours to
// the channel, and nothing else.
func TestHostilePublishes(t *testing.T) {
	t.Parallel()
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	s := irctest.StartInspIRCd(t, irctest.Options{})
	witness := irctest.Dial(t, s.Addr, "witness")
	witness.Join("#ops")
	for _, other := range []string{"#other", "#injected"} {
		witness.Join(other)
	}
	b := open(t, config(s, map[string]any{"channels": []any{"#ops"}}))
	witness.Expect(`bridge\S* JOIN`)
	quiet := len(witness.Lines())
	var publishers sync.WaitGroup
	for worker := range uint64(8) {
		publishers.Go(func() {
			r := rand.New(rand.NewPCG(1, worker))
			for range n / 8 {
				text := hostileText(r)
				payload := core.TextPayload(text)
				if r.IntN(4) == 0 {
					kwargs, _ := json.Marshal(map[string]any{"text": text, "action": r.IntN(2) == 0})
					payload = core.Payload{Kwargs: kwargs}
				}
				topic := "#ops"
				if r.IntN(4) == 0 {
					topic = hostileText(r)
				}
				err := b.Publish(t.Context(), &core.Event{Topic: address(topic), Payload: payload, Via: text})
				switch core.CodeOf(err) {
				case "", core.InvalidArgument, core.TooLarge, core.NotFound:
				default:
					t.Errorf("publish %q to %q: %v", text, topic, err)
				}
			}
		})
	}
	publishers.Wait()
	if st := state(t, b); st.Counters["connections"] != 1 {
		t.Errorf("the connection was lost: %+v", st)
	}
	publish(t, b, "#ops", core.TextPayload("the end"))
	witness.Expect(`PRIVMSG #ops :the end$`)
	ours := regexp.MustCompile("^:bridge!\\S+ PRIVMSG #ops :(\x01ACTION [^\x00\x01\r\n]+\x01|[^\x00\x01\r\n]+)$")
	for _, line := range witness.Lines()[quiet:] {
		if !ours.MatchString(line) || len(line) > 510 {
			t.Fatalf("the witness saw %q", line)
		}
	}
}

// fakeServer plays an IRC server for one client after the other.
func fakeServer(t *testing.T, serve func(c net.Conn, r *bufio.Reader)) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for line := ""; !strings.HasPrefix(line, "USER"); {
					if line, err = r.ReadString('\n'); err != nil {
						return
					}
				}
				serve(c, r)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

// hostileLine makes a line that no server would send.
func hostileLine(r *rand.Rand) string {
	heads := []string{
		":bridge!u@h ", ":x!y@z ", ":srv ", ":", "@", "@time=zzz;msgid=;batch=;label=1;account= ", "@=;;; ", "", ":! ", ":\xff\xfe!@ ", "@batch=1 :x!y@z ", "  ", ":bridge ",
	}
	commands := []string{
		"PRIVMSG", "NOTICE", "JOIN", "PART", "KICK", "NICK", "QUIT", "CAP", "BATCH", "PING", "PONG", "AUTHENTICATE", "CHGHOST", "ACK", "FAIL", "ERR\xff", "MODE", "TAGMSG",
		"001", "005", "433", "432", "376", "396", "401", "404", "412", "470", "471", "900", "903", "904", "366", "353", "999", "INVITE", "",
	}
	params := []string{
		"#ops", "bridge", "x", "*", ":", ":\x01VERSION\x01", ":\x01PING " + strings.Repeat("x", 500) + "\x01", ":!help", ":!cmd a=b \"", "LS", "ACK", "NAK", "DEL", "NEW", ":sasl labeled-response batch",
		"+1", "-1", "+", "-", "chathistory", "CASEMAPPING=ascii", "CASEMAPPING=zz", "CHANTYPES=", "LINELEN=1", "NICKLEN=-5", "TARGMAX=JOIN:0", "STATUSMSG=#", "BOT=\x02", ":",
		"\x00", "#\x02x", strings.Repeat("y", 700), "\xc3\x28", "0", "@#ops", "+", "#ops,#b", ":\x01", ":\x01\x01", ":\x01ACTION", "CLIENTTAGDENY=*,-x",
	}
	var b strings.Builder
	b.WriteString(heads[r.IntN(len(heads))])
	b.WriteString(commands[r.IntN(len(commands))])
	for range r.IntN(5) {
		b.WriteString(" " + params[r.IntN(len(params))])
	}
	if r.IntN(50) == 0 {
		b.WriteString(strings.Repeat("z", 20_000))
	}
	b.WriteString([]string{"\r\n", "\n", "\r\r\n"}[r.IntN(3)])
	return b.String()
}

// 10,000 lines of garbage from the server: the backend lives, and goes on working
// afterwards.
func TestHostileServer(t *testing.T) {
	t.Parallel()
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	addr := fakeServer(t, func(c net.Conn, r *bufio.Reader) {
		fmt.Fprintf(c, ":srv 001 bridge :hi\r\n:srv 005 bridge CHANTYPES=# :are supported\r\n:srv 422 bridge :no motd\r\n")
		garbage := rand.New(rand.NewPCG(2, 3))
		go func() { // what the bridge answers
			for {
				if _, err := r.ReadString('\n'); err != nil {
					return
				}
			}
		}()
		for range n {
			if _, err := c.Write([]byte(hostileLine(garbage))); err != nil {
				t.Errorf("the bridge hung up: %v", err)
				return
			}
		}
		fmt.Fprint(c, ":srv 005 bridge CHANTYPES=# STATUSMSG=@ CASEMAPPING=ascii :x\r\n:bridge!u@h NICK me\r\n:srv NICK me\r\n:end!u@h PRIVMSG #end :the end\r\n")
		time.Sleep(500 * time.Millisecond)
	})
	b := open(t, json.RawMessage(`{"server":"`+addr+`","tls":false,"nick":"bridge"}`))
	serve(t, b, "cmd", func(inv *core.Invocation) { inv.Reply(&core.Result{}, nil) })
	all := subscribe(t, b, "#", core.Prefix)
	for {
		e := all.next()
		if e.Gap == nil && e.Topic.Valid() != nil {
			t.Errorf("event on %q", e.Topic.Name)
		}
		if e.Topic.Name == "#end" {
			return
		}
	}
}

// A server that sends garbage before it welcomes anybody, or hangs up, is tried again.
func TestHostileGreeting(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(4, 5))
	addr := fakeServer(t, func(c net.Conn, _ *bufio.Reader) {
		mu.Lock()
		defer mu.Unlock()
		for range 200 {
			fmt.Fprint(c, hostileLine(r))
		}
	})
	b := irc.New(discard())
	if _, err := b.Open(t.Context(), json.RawMessage(`{"server":"`+addr+`","tls":false,"nick":"bridge"}`)); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A server that stops reading and answering is left, after a while.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	addr := fakeServer(t, func(c net.Conn, r *bufio.Reader) {
		fmt.Fprintf(c, ":srv 001 bridge :hi\r\n:srv 422 bridge :no motd\r\n")
		<-t.Context().Done()
	})
	b := open(t, json.RawMessage(`{"server":"`+addr+`","tls":false,"nick":"bridge","ping_interval":"200ms","ping_timeout":"200ms"}`))
	err := b.Publish(t.Context(), &core.Event{Topic: address("alice"), Payload: core.TextPayload("x")})
	if core.CodeOf(err) != core.Unavailable {
		t.Error(err)
	}
	eventually(t, "it is noticed", func() bool { return strings.Contains(state(t, b).Reason, "silent") })
}
