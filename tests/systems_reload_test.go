package tests

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/irc/irctest"
	"github.com/anybridge/anybridge/backends/redis/redistest"
	"github.com/anybridge/anybridge/backends/xmpp/xmpptest"
)

var redisClient = regexp.MustCompile(`(?m)^id=(\d+) .* cmd=(\S+)`)

// redisConnections are the connections to the server, but for redis-cli's.
func redisConnections(s *redistest.Server) (ids []string) {
	for _, c := range redisClient.FindAllStringSubmatch(s.CLI("CLIENT", "LIST"), -1) {
		if !slices.Contains([]string{"client|list", "client", "psubscribe", "NULL"}, c[2]) {
			ids = append(ids, c[1])
		}
	}
	return ids
}

// reload writes the configuration, which anybridge check must find right, and applies it.
func (b *bridge) reload(t testing.TB, s setup) {
	t.Helper()
	b.configure(t, s)
	if out, err := exec.Command(anybridge, "check", "--config", b.Config).CombinedOutput(); err != nil {
		t.Fatalf("check: %v\n%s", err, out)
	}
	if a := b.post(t, "/reload/", object{}); a.Status >= 300 {
		t.Fatalf("reload: %d %s", a.Status, a.Body)
	}
}

// Backends and routes come and go by reloads, and the others keep their connections.
func TestBackendsComeAndGo(t *testing.T) {
	const channel, room, topic = "#chat", "chat@" + xmpptest.Rooms, "com.app.chat"
	s := startSystems(t)
	redisPart, ircPart := redisBackend(s.redis, ""), ircBackend(s.irc, "")
	xmppPart := xmppBackend(t, s.xmpp, fmt.Sprintf(", rooms: [%q]", room))
	with := func(others ...string) string {
		return fmt.Sprintf("routes:\n  - {name: chat, between: [\"wamp:%s\", \"%s\"]}\n", topic, strings.Join(others, `", "`))
	}

	b := startBridge(t, setup{more: redisPart + with("redis:chat")})
	session := connectNexus(t, b.WS, "json")
	heard := make(chan string, 100)
	if err := session.Subscribe(topic, func(e *wamp.Event) { heard <- fmt.Sprint(e.Arguments...) }, nil); err != nil {
		t.Fatal(err)
	}
	say := func(text string) {
		t.Helper()
		if err := session.Publish(topic, wamp.Dict{"acknowledge": true}, wamp.List{text}, nil); err != nil {
			t.Fatal(err)
		}
	}
	redis := listenOnRedis(t, s.redis, "chat")
	say("two")
	equal(t, "on Redis", redis.next(t).text(), "two")
	pids := map[string]int{}
	remember := func() {
		for _, v := range b.status(t).Backends {
			pids[v.Name] = v.Process.PID
		}
	}
	backends := func(want ...string) {
		t.Helper()
		var names []string
		for _, v := range b.status(t).Backends {
			names = append(names, v.Name)
			if pids[v.Name] != 0 && pids[v.Name] != v.Process.PID || v.State != "up" {
				t.Errorf("backend %s after a reload: %+v", v.Name, v)
			}
		}
		slices.Sort(names)
		equal(t, "backends", fmt.Sprint(names), fmt.Sprint(want))
		remember()
	}
	remember()
	connections := redisConnections(s.redis)
	if len(connections) == 0 {
		t.Fatal("the bridge has no connections to Redis")
	}
	redisKept := func() {
		t.Helper()
		now := redisConnections(s.redis)
		for _, id := range connections {
			if !slices.Contains(now, id) {
				t.Errorf("the bridge had the connections %s to Redis, and has %s", connections, now)
			}
		}
	}

	// IRC and XMPP come.
	b.reload(t, setup{more: redisPart + ircPart + xmppPart + with("redis:chat", "irc:"+channel, "xmpp:"+room)})
	backends("irc", "redis", "wamp", "xmpp")
	redisKept()
	ann, sue := onIRC(t, s.irc, "ann", channel), inRoom(t, s.xmpp, "sue", room)
	ping := func() string {
		answer := sue.Do(t, "iq", object{"to": room + "/" + bridgeNick, "type": "get", "xml": `<ping xmlns="urn:xmpp:ping"/>`})
		return fmt.Sprint(answer["xml"])
	}
	if answer := ping(); !strings.Contains(answer, `type="result"`) {
		t.Errorf("the bridge is not in the room: %s", answer)
	}
	say("four")
	equal(t, "on Redis", redis.next(t).text(), "four")
	equal(t, "on IRC", nextOnIRC(t, ann, channel), "four")
	said, _ := nextOnXMPP(t, sue)
	equal(t, "on XMPP", said, "four")
	ann.Send("PRIVMSG %s :hello", channel)
	select {
	case text := <-heard:
		equal(t, "on WAMP", text, "hello")
	case <-deadline(t).Done():
		t.Fatal("WAMP hears nothing")
	}
	equal(t, "on Redis", redis.next(t).text(), "hello")
	said, _ = nextOnXMPP(t, sue)
	equal(t, "on XMPP", said, "hello")

	// A configuration with mistakes is refused whole.
	b.configure(t, setup{more: redisPart + `  irc: {kind: irc, server: "localhost"}
  xmpp: {kind: xmpp, jid: "x@", password: "hidden"}
routes:
  - {from: redis:chat, to: mqtt:chat}
  - {from: redis:chat, to: wamp:com.app.chat, when: "args[0] >"}
`})
	out, err := exec.Command(anybridge, "check", "--config", b.Config).CombinedOutput()
	for _, want := range []string{"anybridge.yaml:", "nick", "jid", "mqtt", "when: unexpected token"} {
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("check does not tell of %q (%v):\n%s", want, err, out)
		}
	}
	if strings.Contains(string(out), "hidden") {
		t.Errorf("check shows a password:\n%s", out)
	}
	if a := b.post(t, "/reload/", object{}); a.Status != 400 {
		t.Errorf("reload: %d %s", a.Status, a.Body)
	}
	backends("irc", "redis", "wamp", "xmpp")

	// XMPP goes: the bridge leaves the room, and stays in the channel.
	b.reload(t, setup{more: redisPart + ircPart + with("redis:chat", "irc:"+channel)})
	eventually(t, "the bridge has left the room", func() error {
		if answer := ping(); !strings.Contains(answer, "item-not-found") {
			return fmt.Errorf("it answers: %s", answer)
		}
		return nil
	})
	backends("irc", "redis", "wamp")
	redisKept()
	say("three")
	equal(t, "on Redis", redis.next(t).text(), "three")
	equal(t, "on IRC", nextOnIRC(t, ann, channel), "three")
	for _, line := range ann.Lines() {
		if strings.HasPrefix(line, ":"+bridgeNick+"!") && !strings.Contains(line, " PRIVMSG ") {
			t.Errorf("the bridge did not keep its connection to IRC: %s", line)
		}
	}

	// Redis goes, and XMPP comes back.
	b.reload(t, setup{more: ircPart + xmppPart + with("irc:"+channel, "xmpp:"+room)})
	delete(pids, "xmpp")
	backends("irc", "wamp", "xmpp")
	eventually(t, "the connections to Redis are closed", func() error {
		if left := redisConnections(s.redis); len(left) > 0 {
			return fmt.Errorf("there are %s", left)
		}
		return nil
	})
	say("three again")
	equal(t, "on IRC", nextOnIRC(t, ann, channel), "three again")
	said, _ = nextOnXMPP(t, sue)
	equal(t, "on XMPP", said, "three again")

	// All go but WAMP, whose session is the one from the beginning.
	b.reload(t, setup{})
	eventually(t, "the bridge has left IRC", func() error {
		ann.Send("ISON %s", bridgeNick)
		if there := irctest.Text(ann.Expect(` 303 ann `)); there != "" {
			return fmt.Errorf("there is %s", there)
		}
		return nil
	})
	backends("wamp")
	equal(t, "routes left", len(b.status(t).Routes), 0)
	select {
	case <-session.Done():
		t.Error("the WAMP session has ended")
	default:
	}
}
