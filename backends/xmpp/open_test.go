package xmpp_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/backends/xmpp"
	"github.com/anybridge/anybridge/backends/xmpp/xmpptest"
	"github.com/anybridge/anybridge/core"
)

func TestTLS(t *testing.T) { onServers(t, testTLS) }

func testTLS(t *testing.T, start xmpptest.Starter) {
	server := start(t)
	plain := start(t, xmpptest.Options{Plaintext: true})
	for name, c := range map[string]struct {
		server *xmpptest.Server
		more   map[string]any
		say    string // "" = it works
	}{
		"starttls":           {server, nil, ""},
		"direct":             {server, map[string]any{"server": server.Direct, "tls": map[string]any{"mode": "direct", "ca": server.CA}}, ""},
		"none":               {plain, map[string]any{"tls": "none"}, ""},
		"unknown CA":         {server, map[string]any{"tls": "starttls"}, "certificate"},
		"other name":         {server, map[string]any{"tls": map[string]any{"ca": server.CA, "server_name": "other.test"}}, "other.test"},
		"none, not offered":  {server, map[string]any{"tls": "none"}, "log in"},
		"starttls stripped":  {plain, nil, "does not offer STARTTLS"},
		"wrong password":     {server, map[string]any{"password": "wr0ng-password"}, "wrong account or password"},
		"direct on starttls": {server, map[string]any{"tls": map[string]any{"mode": "direct", "ca": server.CA}}, "TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t, section(t, c.server, "one"+strings.ReplaceAll(strings.ReplaceAll(name, " ", ""), ",", ""), c.more))
			s := status(t, b)
			switch {
			case c.say == "" && s.State != core.Up:
				t.Fatal(s)
			case c.say != "" && (s.State != core.Down || !strings.Contains(s.Reason, c.say) || strings.Contains(s.Reason, "wr0ng")):
				t.Fatal(s)
			}
		})
	}
}

func TestCheckConfig(t *testing.T) {
	for section, want := range map[string]string{
		`{"jid":"a@b/c","password":"x"}`: "",
		`{"jid":"a@b","password":"x","server":"localhost:5222","tls":"none","rooms":["r@s",{"room":"q@s","nick":"n"}],"callers":["*","b"],"keepalive":"1m"}`: "",
		`[]`:            "want a map",
		`{}`:            "jid: the account is missing, for example bridge@example.org/anybridge\npassword: is missing",
		`{"jdi":"a@b"}`: "jdi: unknown key; did you mean \"jid\"?\npassword: is missing",
		`{"jid":"example.org","password":"x","server":"h","tls":"ssl","rooms":["r"],"callers":["@"],"keepalive":"1ms","max_stanza":1,"nick":" "}`: `jid: "example.org" has no account before the @
server: "h": want host:port
tls: mode "ssl": want starttls, direct or none
nick: " " cannot be a name in a room
rooms[0]: "r": want a room's JID, room@service
callers[0]: "@": want a JID, a domain or *
max_stanza: 1: at least 10000
keepalive: at least 1s`,
		`{"jid":"a@b","password":"x","tls":"none","server":"example.org:5222"}`: "tls: none is only for a server on a loopback address, which server names",
		`{"jid":1,"password":["secret"],"keepalive":5,"rooms":[{"rom":"x"}]}`:   "jid: want a string\nkeepalive: want a duration like \"5s\"\npassword: want a string\nrooms[0].rom: unknown key; did you mean \"room\"?",
		`{"jid":"a@b","password":"x","tls":{"ca":"/none"}}`:                     "tls.ca: open /none: no such file or directory",
	} {
		got := ""
		if err := xmpp.CheckConfig([]byte(section)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s:\n%s\nwant:\n%s", section, got, want)
		}
	}
}

func TestReconfigure(t *testing.T) {
	t.Parallel()
	server := xmpptest.Start(t)
	b := open(t, section(t, server, "one", nil))
	room := "ops@" + xmpptest.Rooms
	if _, err := b.Open(context.Background(), section(t, server, "one", map[string]any{"rooms": []string{room}, "callers": []string{"*"}})); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the room is joined", func() bool { return status(t, b).Counters["rooms_now"] == 1 })
	if _, err := b.Open(context.Background(), section(t, server, "two", nil)); core.CodeOf(err) != core.Unimplemented {
		t.Fatal(err)
	}
	if n := status(t, b).Counters["sessions_started"]; n != 1 {
		t.Fatal(n)
	}
}

// What a subscriber does not take is counted, and told.
func TestOverflow(t *testing.T) {
	t.Parallel()
	server := xmpptest.Start(t)
	one := open(t, section(t, server, "one", nil))
	two := open(t, section(t, server, "two", map[string]any{"max_queued_events": 10}))
	room := "ops@" + xmpptest.Rooms
	heard := subscribe(t, two, room)
	for range 30 {
		publish(t, one, room, `["x"]`)
	}
	eventually(t, "drops", func() bool { return status(t, two).Counters["events_dropped"] == 20 })
	for range 10 {
		if e := heard.next(); e.Gap != nil {
			t.Fatal(e.Gap)
		}
	}
	if e := heard.next(); e.Gap == nil || e.Gap.Lost != 20 {
		t.Fatal(e)
	}
}

func TestNotOpen(t *testing.T) {
	b := xmpp.New(slog.New(slog.DiscardHandler))
	if err := b.Publish(ctx(t), &core.Event{Topic: address("a@b")}); core.CodeOf(err) != core.Unavailable {
		t.Fatal(err)
	}
	if err := b.Close(ctx(t)); err != nil {
		t.Fatal(err)
	}
}
