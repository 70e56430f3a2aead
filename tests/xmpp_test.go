package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/backends/xmpp/xmpptest"
)

// Web apps and people with slixmpp, with the bridge and Prosody between them.
func TestXMPPEndToEnd(t *testing.T) {
	const room, node = "ops@" + xmpptest.Rooms, xmpptest.PubSub + "!orders"
	server := xmpptest.Start(t)
	b := startBridge(t, setup{more: xmppBackend(t, server, fmt.Sprintf(", rooms: [%q]", room))})
	a := startApp(t, theToken)
	slix := inRoom(t, server, "slix", room)
	us := bridgeNick + "@" + xmpptest.Domain + "/anybridge"
	publisher := func(c callback) string {
		var d struct{ Publisher string }
		if err := json.Unmarshal(c.Details, &d); err != nil {
			t.Errorf("details %s: %v", c.Details, err)
		}
		return d.Publisher
	}

	t.Run("what people say", func(t *testing.T) {
		b.subscribe(t, object{
			"xmpp:" + room:                       a.view("/room", nil),
			"xmpp:slix@" + xmpptest.Domain:       a.view("/slix", nil),
			"xmpp:inbox":                         a.view("/inbox", nil),
			"xmpp:nobody@" + xmpptest.Domain:     a.view("/nobody", nil),
			"xmpp:elsewhere@" + xmpptest.Rooms:   a.view("/elsewhere", nil),
			"xmpp:" + xmpptest.PubSub + "!other": a.view("/other", nil),
		})
		slix.Do(t, "send_text", object{"to": room, "type": "groupchat", "body": "<hello> & 'welcome'"})
		c := a.next(t, "/room")
		equal(t, "topic", c.Topic, "xmpp:"+room)
		equal(t, "text", onlyArg(t, c), "<hello> & 'welcome'")
		equal(t, "who says so", publisher(c), "slix")
		slix.Do(t, "send_text", object{"to": us, "type": "chat", "body": "psst"})
		for _, path := range []string{"/slix", "/inbox"} {
			c := a.next(t, path)
			equal(t, "text", onlyArg(t, c), "psst")
			equal(t, "who says so", publisher(c), slix.JID)
		}
		for _, path := range []string{"/room", "/slix", "/inbox", "/nobody", "/elsewhere", "/other"} {
			a.none(t, path)
		}
	})

	t.Run("what an app publishes", func(t *testing.T) {
		heard := func(wanted string) string {
			t.Helper()
			for {
				text, from := nextOnXMPP(t, slix)
				if from != room+"/slix" { // its own, from before
					equal(t, "text", text, wanted)
					return from
				}
			}
		}
		b.publish(t, inPath("xmpp:"+room), object{"args": []any{"</body> deployed", 3}})
		equal(t, "who says so in the room", heard("</body> deployed 3"), room+"/"+bridgeNick)
		b.publish(t, inPath("xmpp:slix@"+xmpptest.Domain), object{"args": []any{"for you"}})
		equal(t, "who says so in private", heard("for you"), us)
	})

	t.Run("a node", func(t *testing.T) {
		b.subscribe(t, object{"xmpp:" + node: a.view("/node", nil)})
		ask := func(xml string) {
			t.Helper()
			answer := slix.Do(t, "iq", object{"to": xmpptest.PubSub, "type": "set", "xml": `<pubsub xmlns="http://jabber.org/protocol/pubsub">` + xml + `</pubsub>`})
			if answer := fmt.Sprint(answer["xml"]); !strings.Contains(answer, `type="result"`) {
				t.Fatalf("%s: %s", xml, answer)
			}
		}
		ask(fmt.Sprintf(`<subscribe node="orders" jid=%q/>`, slix.JID))
		ask(`<publish node="orders"><item id="7"><json xmlns="urn:xmpp:json:0">{"args": [9007199254740993], "kwargs": {"n": 1}}</json></item></publish>`)
		c := a.next(t, "/node")
		equal(t, "topic", c.Topic, "xmpp:"+node)
		sameJSON(t, "args", c.Args, json.RawMessage(`[9007199254740993]`))
		sameJSON(t, "kwargs", c.Kwargs, raw(object{"n": 1}))
		b.publish(t, inPath("xmpp:"+node), object{"args": []any{"from the app"}})
		slix.Event(t, func(e map[string]any) bool {
			return e["event"] == "message" && strings.Contains(fmt.Sprint(e["xml"]), "from the app")
		})
		sameJSON(t, "the app's own", a.next(t, "/node").Args, raw([]any{"from the app"}))
	})

	t.Run("slixmpp executes what an app serves", func(t *testing.T) {
		b.register(t, object{"xmpp:weather": a.view("/weather", func(callback) response {
			return response{status: http.StatusOK, body: "sunny"}
		})})
		equal(t, "commands", fmt.Sprint(slix.Do(t, "commands", object{"to": us})["nodes"]), "[weather]")
		answer := slix.Do(t, "execute", object{"to": us, "node": "weather", "fields": object{"args": "Paris\nFrance", "kwargs": `{"days": 3}`}})
		c := a.next(t, "/weather")
		equal(t, "procedure", c.Procedure, "xmpp:weather")
		sameJSON(t, "args", c.Args, raw([]any{"Paris", "France"}))
		sameJSON(t, "kwargs", c.Kwargs, raw(object{"days": 3}))
		var d struct{ Caller string }
		if err := json.Unmarshal(c.Details, &d); err != nil || d.Caller != slix.JID {
			t.Errorf("details %s", c.Details)
		}
		if answer["status"] != "completed" || !strings.Contains(fmt.Sprint(answer["notes"]), "sunny") {
			t.Errorf("answered: %v", answer)
		}
	})

	t.Run("an app executes what slixmpp serves", func(t *testing.T) {
		slix.Do(t, "offer", object{"node": "shout"})
		result := b.call(t, inPath("xmpp:"+slix.JID+"!shout"), object{"args": []any{"hey"}})
		sameJSON(t, "result", result.Kwargs, raw(object{"shout": "HEY"}))
		b.post(t, "/call/"+inPath("xmpp:"+slix.JID+"!whisper")+"/", object{}).want(t, http.StatusNotFound)
	})

	t.Run("what XMPP cannot do", func(t *testing.T) {
		pattern := object{"endpoints": object{"xmpp:ops": object{"url": a.view("/pattern", nil), "match": "prefix"}}}
		b.post(t, "/subscribe/", pattern).want(t, http.StatusNotImplemented)
		b.post(t, "/register/", pattern).want(t, http.StatusNotImplemented)
	})
}
