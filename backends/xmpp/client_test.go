package xmpp_test

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/backends/xmpp"
	"github.com/anybridge/anybridge/backends/xmpp/stream"
	"github.com/anybridge/anybridge/backends/xmpp/xmpptest"
	"github.com/anybridge/anybridge/core"
)

// What others' clients send and see.
func TestOtherClient(t *testing.T) { onServers(t, testOtherClient) }

func testOtherClient(t *testing.T, start xmpptest.Starter) {
	server := start(t)
	b := open(t, section(t, server, "one", map[string]any{"nick": "bridge"}))
	slix := server.Client(t, "slix")
	room := "ops@" + xmpptest.Rooms

	t.Run("room", func(t *testing.T) {
		heard := subscribe(t, b, room)
		slix.Do(t, "join", map[string]any{"room": room, "nick": "Ann"})
		publish(t, b, room, `["42 < 43", 7, true]`)
		body, e := slix.Message(t)
		if body != "42 < 43 7 true" || e["from"] != room+"/bridge" {
			t.Fatal(e)
		}
		slix.Do(t, "send_text", map[string]any{"to": room, "type": "groupchat", "body": "to all"})
		got := heard.next()
		if string(got.Args) != `["to all"]` || !strings.HasPrefix(string(got.Details), `{"publisher":"Ann","publisher_authid":"slix@xmpp.test"`) && !strings.HasPrefix(string(got.Details), `{"publisher":"Ann"`) {
			t.Fatalf("%s %s", got.Args, got.Details)
		}
		slix.Message(t) // its own
	})
	t.Run("chat", func(t *testing.T) {
		heard := subscribe(t, b, "slix@"+xmpptest.Domain)
		publish(t, b, "slix@"+xmpptest.Domain, `["psst"]`)
		body, e := slix.Message(t)
		if body != "psst" || strings.Contains(e["xml"].(string), "urn:anybridge") {
			t.Fatal(e)
		}
		slix.Do(t, "send_xml", map[string]any{"xml": `<message type="chat" id="m1" to="one@xmpp.test" xml:lang="fr"><body>réponse</body><request xmlns="urn:xmpp:receipts"/></message>`})
		if got := heard.next(); string(got.Args) != `["réponse"]` || !strings.Contains(string(got.Details), `"lang":"fr"`) {
			t.Fatalf("%s %s", got.Args, got.Details)
		}
		slix.Event(t, func(e map[string]any) bool {
			xml, _ := e["xml"].(string)
			return strings.Contains(xml, "received") && strings.Contains(xml, `id="m1"`)
		})
	})
	t.Run("node", func(t *testing.T) {
		topic := xmpptest.PubSub + "!sensors"
		heard := subscribe(t, b, topic)
		slix.Do(t, "iq", map[string]any{"to": xmpptest.PubSub, "type": "set", "xml": `<pubsub xmlns="http://jabber.org/protocol/pubsub"><subscribe node="sensors" jid="` + slix.JID + `"/></pubsub>`})
		for _, c := range []struct{ item, args, kwargs string }{
			{`<json xmlns="urn:xmpp:json:0">{"t": 21.50}</json>`, "", `{"t": 21.50}`},
			{`<json xmlns="urn:xmpp:json:0">[1, 2]</json>`, `[1, 2]`, ""},
			{`<json xmlns="urn:xmpp:json:0">{"args":[1],"kwargs":{"a":2}}</json>`, `[1]`, `{"a":2}`},
			{`<geoloc xmlns="urn:example"><lat>1.5</lat></geoloc>`, `["\u003cgeoloc xmlns=\"urn:example\"\u003e\u003clat\u003e1.5\u003c/lat\u003e\u003c/geoloc\u003e"]`, ""},
		} {
			slix.Do(t, "iq", map[string]any{"to": xmpptest.PubSub, "type": "set", "xml": `<pubsub xmlns="http://jabber.org/protocol/pubsub"><publish node="sensors"><item id="current">` + c.item + `</item></publish></pubsub>`})
			got := heard.next()
			if string(got.Args) != c.args || string(got.Kwargs) != c.kwargs || !strings.Contains(string(got.Details), `"id":"current"`) {
				t.Fatalf("%s: %s %s %s", c.item, got.Args, got.Kwargs, got.Details)
			}
		}
		publish(t, b, topic, `["hot"]`)
		slix.Event(t, func(e map[string]any) bool {
			xml, _ := e["xml"].(string)
			return strings.Contains(xml, "hot")
		})
		heard.none()
	})
}

// No text that is published can become anything but text at the far side.
func TestHostileText(t *testing.T) {
	t.Parallel()
	server := xmpptest.Start(t)
	b := open(t, section(t, server, "one", nil))
	slix := server.Client(t, "slix")
	to := "slix@" + xmpptest.Domain
	random := rand.New(rand.NewPCG(1, 2))
	pieces := []string{
		"</body>", "</message>", "<presence type='unavailable'/>", "]]>", "<![CDATA[", "<!--", "-->", "&amp;", "&", "&#0;", "&lol;", "<?xml?>", "</stream:stream>",
		"\x00", "\x01", "\x1b[2J", "\r\n", "\n", "\t", "\xc3", "\xed\xa0\x80", "\xff\xfe", "\ufffe", "\uffff", "\u202e", "👋", "'", `"`, "<", ">", "x",
		"<!DOCTYPE a [<!ENTITY a 'b'>]>", "\u0085", "\u2028", strings.Repeat("a", 2000),
	}
	const inputs, batch, together = 10_000, 100, 5 // inputs that share a message
	for start := 0; start < inputs; start += batch * together {
		var sent []string
		results := make(chan error, batch)
		for range batch {
			var s strings.Builder
			for range together {
				for range 1 + random.IntN(6) {
					s.WriteString(pieces[random.IntN(len(pieces))])
				}
				s.WriteByte('.')
			}
			text := s.String()
			sent = append(sent, text)
		}
		go func() {
			for _, text := range sent {
				args, _ := json.Marshal([]string{text})
				if strings.ContainsRune(text, '\xff') {
					args = []byte(`["` + strings.ReplaceAll(string(args[2:len(args)-2]), `\ufffd`, "\xff") + `"]`) // JSON need not be UTF-8
				}
				e := &core.Event{Topic: address(to), Payload: core.Payload{Args: args}}
				results <- b.Publish(ctx(t), e)
			}
		}()
		for i, text := range sent {
			if err := <-results; err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			body, _ := slix.Message(t)
			if want := stream.Clean(strings.ToValidUTF8(text, "\ufffd")); normal(body) != normal(want) {
				t.Fatalf("input %d: %q arrived as %q", start+i*together, text, body)
			}
		}
	}
	if n := status(t, b).Counters["connections_lost"]; n != 0 {
		t.Fatalf("%d connections were lost", n)
	}
	big := &core.Event{Topic: address(to), Payload: core.Payload{Args: json.RawMessage(`["` + strings.Repeat("<", 100_000) + `"]`)}}
	if err := b.Publish(ctx(t), big); core.CodeOf(err) != core.TooLarge {
		t.Fatal(err)
	}
	if s := status(t, b); s.State != core.Up {
		t.Fatal(s)
	}
	for _, topic := range []string{"a@b@c", "x y@z", "@x", "room@rooms.xmpp.test/nick", "x@y!", "<a@b>", "a@b'/>", xmpp.Inbox} {
		if err := b.Publish(ctx(t), &core.Event{Topic: address(topic)}); core.CodeOf(err) != core.InvalidArgument {
			t.Errorf("%s: %v", topic, err)
		}
	}
}

// normal leaves out how many marks stand for one sequence of invalid bytes, and what
// servers do with carriage returns.
func normal(s string) string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
	for strings.Contains(s, "\ufffd\ufffd") {
		s = strings.ReplaceAll(s, "\ufffd\ufffd", "\ufffd")
	}
	return s
}
