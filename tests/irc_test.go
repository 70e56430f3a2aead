package tests

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/anybridge/anybridge/backends/irc/irctest"
)

// ircDetails are what an event or a command from IRC tells.
type ircDetails struct {
	Publisher, Caller, Channel string
	Notice, Action             bool
}

func ircDetailsOf(t testing.TB, c callback) ircDetails {
	t.Helper()
	var d ircDetails
	if err := json.Unmarshal(c.Details, &d); err != nil {
		t.Fatalf("details %s: %v", c.Details, err)
	}
	return d
}

// Web apps and people with a plain IRC client, with the bridge and InspIRCd between them.
func TestIRCEndToEnd(t *testing.T) {
	server := irctest.StartInspIRCd(t, irctest.Options{})
	b := startBridge(t, setup{more: ircBackend(server, `, channels: ["#ops", "#shop.north"]`) + `routes:
  - {procedure: irc:weather, call: wamp:com.app.weather, text: "{{ args[0] }} °C in {{ kwargs.place }}"}
`})
	a := startApp(t, theToken)
	alice := onIRC(t, server, "alice", "#ops")
	alice.Join("#shop.north")

	t.Run("what people say", func(t *testing.T) {
		b.subscribe(t, object{
			"irc:#ops":   object{"url": a.view("/exact", nil), "ordered": true},
			"irc:#shop.": object{"url": a.view("/prefix", nil), "match": "prefix"},
			"irc:.north": object{"url": a.view("/wildcard", nil), "match": "wildcard"},
			"irc:.south": object{"url": a.view("/elsewhere", nil), "match": "wildcard"},
			"irc:alice":  a.view("/alice", nil),
			"irc:@me":    a.view("/private", nil),
		})
		alice.Send("PRIVMSG #ops :hello \x02there\x02")
		alice.Send("PRIVMSG #ops :\x01ACTION waves\x01")
		alice.Send("PRIVMSG #shop.north :open")
		alice.Send("PRIVMSG %s :psst", bridgeNick)
		c := a.next(t, "/exact")
		equal(t, "topic", c.Topic, "irc:#ops")
		equal(t, "text", onlyArg(t, c), "hello there")
		equal(t, "who says so", ircDetailsOf(t, c).Publisher, "alice")
		c = a.next(t, "/exact")
		equal(t, "text", onlyArg(t, c), "waves")
		equal(t, "action", ircDetailsOf(t, c).Action, true)
		for _, path := range []string{"/prefix", "/wildcard"} {
			c := a.next(t, path)
			equal(t, "topic", c.Topic, "irc:#shop.north")
			equal(t, "text", onlyArg(t, c), "open")
		}
		for _, path := range []string{"/alice", "/private"} {
			c := a.next(t, path)
			equal(t, "text", onlyArg(t, c), "psst")
			equal(t, "who says so", ircDetailsOf(t, c).Publisher, "alice")
		}
		for _, path := range []string{"/exact", "/prefix", "/wildcard", "/elsewhere", "/alice", "/private"} {
			a.none(t, path)
		}
	})

	t.Run("what an app publishes", func(t *testing.T) {
		b.publish(t, inPath("irc:#ops"), object{"args": []any{"deployed", 3}})
		equal(t, "in the channel", irctest.Text(alice.Expect(says(bridgeNick, "#ops"))), "deployed 3")
		b.publish(t, inPath("irc:#ops"), object{"args": []any{"one\r\nQUIT :two"}})
		equal(t, "first line", irctest.Text(alice.Expect(says(bridgeNick, "#ops"))), "one")
		equal(t, "second line", irctest.Text(alice.Expect(says(bridgeNick, "#ops"))), "QUIT :two")
		b.publish(t, "irc:alice", object{"args": []any{"for you"}})
		equal(t, "in private", irctest.Text(alice.Expect(says(bridgeNick, "alice"))), "for you")
		equal(t, "the app's own text", onlyArg(t, a.next(t, "/alice")), "for you")
		b.post(t, "/publish/irc:nobody/", object{"args": []any{"hello?"}}).want(t, http.StatusNotFound)
	})

	t.Run("commands", func(t *testing.T) {
		b.register(t, object{
			"com.app.weather": a.view("/weather", func(c callback) response {
				return response{http.StatusOK, resultType, object{"args": []any{18}, "kwargs": object{"place": onlyArg(t, c)}}}
			}),
			"irc:echo":   a.view("/echo", echo),
			"irc:refuse": a.view("/refuse", refuse),
		})
		alice.Send("PRIVMSG #ops :!weather Paris")
		equal(t, "through a route", irctest.Text(alice.Expect(says(bridgeNick, "#ops"))), "alice: 18 °C in Paris")
		equal(t, "procedure", a.next(t, "/weather").Procedure, "com.app.weather")
		alice.Send(`PRIVMSG #ops :!echo "New York" 3 true`)
		equal(t, "directly", irctest.Text(alice.Expect(says(bridgeNick, "#ops"))), "alice: New York 3 true")
		c := a.next(t, "/echo")
		equal(t, "procedure", c.Procedure, "irc:echo")
		sameJSON(t, "words", c.Args, raw([]any{"New York", 3, true}))
		d := ircDetailsOf(t, c)
		equal(t, "caller", d.Caller, "alice")
		equal(t, "channel", d.Channel, "#ops")
		alice.Send("PRIVMSG %s :!weather Rome", bridgeNick)
		equal(t, "in private", irctest.Text(alice.Expect(`NOTICE alice :`)), "18 °C in Rome")
		alice.Send("PRIVMSG #ops :!refuse")
		equal(t, "an error", irctest.Text(alice.Expect(says(bridgeNick, "#ops"))), "alice: error: com.example.error.refused")
		alice.Send("PRIVMSG #ops :!help")
		equal(t, "help", irctest.Text(alice.Expect(says(bridgeNick, "#ops"))), "alice: commands: !echo !refuse !weather (!help NAME tells more)")
	})

	t.Run("what IRC cannot do", func(t *testing.T) {
		b.post(t, "/call/irc:weather/", object{}).want(t, http.StatusNotImplemented)
		pattern := object{"endpoints": object{"irc:w": object{"url": a.view("/w", nil), "match": "prefix"}}}
		b.post(t, "/register/", pattern).want(t, http.StatusNotImplemented)
	})
}
