package tests

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/anybridge/anybridge/backends/irc/irctest"
	"github.com/anybridge/anybridge/backends/redis/redistest"
	"github.com/anybridge/anybridge/backends/xmpp/xmpptest"
)

// The servers of other systems, the sections that connect a bridge to them, and clients
// that know nothing of the bridge: redis-cli, an IRC client on a plain socket, slixmpp.

// bridgeNick is the bridge's name on IRC and in rooms.
const bridgeNick = "anybridge"

// redisBackend connects to the server; more are further keys, ", key: value".
func redisBackend(s *redistest.Server, more string) string {
	return fmt.Sprintf("  redis: {kind: redis, url: %q%s}\n", s.URL(), more)
}

func ircBackend(s *irctest.Server, more string) string {
	return fmt.Sprintf("  irc: {kind: irc, server: %q, tls: {ca: %q}, nick: %s, flood: {interval: 0s}%s}\n", s.TLSAddr, s.CA, bridgeNick, more)
}

func xmppBackend(t testing.TB, s *xmpptest.Server, more string) string {
	t.Helper()
	return fmt.Sprintf("  xmpp: {kind: xmpp, jid: %s/anybridge, password: %s, server: %q, tls: {ca: %q}%s}\n",
		s.Account(t, bridgeNick), xmpptest.Password(bridgeNick), s.Addr, s.CA, more)
}

// systems are one server of each kind.
type systems struct {
	redis *redistest.Server
	irc   *irctest.Server
	xmpp  *xmpptest.Server
}

func startSystems(t testing.TB) systems {
	t.Helper()
	return systems{redistest.Start(t), irctest.StartInspIRCd(t, irctest.Options{}), xmpptest.Start(t)}
}

// backends connects to them all.
func (s systems) backends(t testing.TB) string {
	t.Helper()
	return redisBackend(s.redis, "") + ircBackend(s.irc, "") + xmppBackend(t, s.xmpp, "")
}

// inPath is an address as it stands in a path of the REST API.
func inPath(address string) string { return url.PathEscape(address) }

// redisMessage is what redis-cli prints of a message.
type redisMessage struct{ channel, payload string }

// text is the message as a person reads it: itself, or the only argument of a bridge's
// envelope.
func (m redisMessage) text() string {
	var envelope struct{ Args []string }
	if json.Unmarshal([]byte(m.payload), &envelope) == nil && len(envelope.Args) == 1 {
		return envelope.Args[0]
	}
	return m.payload
}

// redisListener is a redis-cli that waits for messages.
type redisListener struct{ came chan redisMessage }

// listenOnRedis runs PSUBSCRIBE until the test ends; it returns when that is in force.
func listenOnRedis(t testing.TB, s *redistest.Server, pattern string) *redisListener {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := s.Command(ctx, "PSUBSCRIBE", pattern)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l := &redisListener{came: make(chan redisMessage, 10_000)}
	subscribed, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewScanner(out)
		next := func() string { lines.Scan(); return lines.Text() }
		for lines.Scan() {
			switch lines.Text() {
			case "psubscribe": // pattern, how many
				next()
				next()
				close(subscribed)
			case "pmessage": // pattern, channel, message
				next()
				l.came <- redisMessage{channel: next(), payload: next()}
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = cmd.Wait()
	})
	select {
	case <-subscribed:
	case <-time.After(patience):
		t.Fatal("redis-cli is not subscribed")
	}
	return l
}

func (l *redisListener) next(t testing.TB) redisMessage {
	t.Helper()
	select {
	case m := <-l.came:
		return m
	case <-time.After(patience):
		t.Fatal("redis-cli hears nothing")
		return redisMessage{}
	}
}

// redisRequest is a call that waits in Redis for somebody who serves it.
type redisRequest struct {
	ID      string
	Args    json.RawMessage
	ReplyTo string `json:"reply_to"`
}

// serveOnRedis takes one call of a procedure with redis-cli, and answers it with these
// fields beside the id. The channel tells how that went.
func serveOnRedis(s *redistest.Server, procedure string, answer func(redisRequest) object) <-chan error {
	served := make(chan error, 1)
	go func() {
		served <- func() error {
			out, err := s.Run("BLPOP", "rpc:call:"+procedure, "20")
			if err != nil {
				return err
			}
			var request redisRequest
			_, text, _ := strings.Cut(out, "\n")
			if err := json.Unmarshal([]byte(text), &request); err != nil {
				return fmt.Errorf("request %q: %w", out, err)
			}
			fields := answer(request)
			fields["id"] = request.ID
			_, err = s.Run("RPUSH", request.ReplyTo, string(raw(fields)))
			return err
		}()
	}()
	return served
}

// onIRC connects a person who is in the channel.
func onIRC(t testing.TB, s *irctest.Server, nick, channel string) *irctest.Client {
	t.Helper()
	c := irctest.Dial(t, s.Addr, nick)
	c.Join(channel)
	return c
}

// says matches what a nick says to a channel or nick, whatever it is.
func says(nick, target string) string {
	return fmt.Sprintf(`^(@\S+ )?:%s!\S+ PRIVMSG %s :`, nick, regexp.QuoteMeta(target))
}

// nextOnIRC is the next text that anybody says in the channel.
func nextOnIRC(t testing.TB, c *irctest.Client, channel string) string {
	t.Helper()
	return irctest.Text(c.Expect(says(`\S+`, channel)))
}

// inRoom connects a person who is in the room. The bridge has to be there already: it
// makes the room.
func inRoom(t testing.TB, s *xmpptest.Server, account, room string) *xmpptest.Client {
	t.Helper()
	c := s.Client(t, account)
	c.Do(t, "join", object{"room": room, "nick": account})
	return c
}

// nextOnXMPP is the next text, and who said it.
func nextOnXMPP(t testing.TB, c *xmpptest.Client) (text, from string) {
	t.Helper()
	text, message := c.Message(t)
	from, _ = message["from"].(string)
	return text, from
}

// onlyArg is the only argument of a callback, a text.
func onlyArg(t testing.TB, c callback) string {
	t.Helper()
	var args []string
	if err := json.Unmarshal(c.Args, &args); err != nil || len(args) != 1 {
		t.Fatalf("the callback has the args %s", c.Args)
	}
	return args[0]
}
