package xmpp_test

import (
	"strings"
	"testing"

	"github.com/anybridge/anybridge/backends/xmpp/xmpptest"
	"github.com/anybridge/anybridge/core"
)

const (
	nsAdmin = "http://jabber.org/protocol/muc#admin"
	nsOwner = "http://jabber.org/protocol/muc#owner"
)

// What rooms do to us: we come back, and say what may have been missed.
func TestRooms(t *testing.T) { onServers(t, testRooms) }

func testRooms(t *testing.T, start xmpptest.Starter) {
	server := start(t)
	slix := server.Client(t, "slix")
	room := "ops@" + xmpptest.Rooms
	// slix creates the rooms, and owns them.
	configure := func(t *testing.T, room, fields string) {
		t.Helper()
		slix.Do(t, "iq", map[string]any{"to": room, "type": "set", "xml": `<query xmlns="` + nsOwner + `"><x xmlns="jabber:x:data" type="submit"><field var="FORM_TYPE"><value>http://jabber.org/protocol/muc#roomconfig</value></field>` + fields + `</x></query>`})
	}
	own := func(t *testing.T, room, nick, fields string) {
		t.Helper()
		slix.Do(t, "join", map[string]any{"room": room, "nick": nick})
		configure(t, room, fields)
	}
	admin := func(t *testing.T, item string) {
		t.Helper()
		slix.Do(t, "iq", map[string]any{"to": room, "type": "set", "xml": `<query xmlns="` + nsAdmin + `">` + item + `</query>`})
	}
	own(t, room, "owner", "")
	b := open(t, section(t, server, "one", map[string]any{"nick": "bridge", "room_ping": "1s"}))
	heard := subscribe(t, b, room)
	works := func(t *testing.T, text string) {
		t.Helper()
		publish(t, b, room, `["`+text+`"]`)
		for {
			if body, _ := slix.Message(t); body == text {
				return
			}
		}
	}
	works(t, "first")
	t.Run("kicked", func(t *testing.T) {
		admin(t, `<item nick="bridge" role="none"><reason>out</reason></item>`)
		if e := heard.next(); e.Gap == nil || !strings.Contains(e.Gap.Reason, "kicked") {
			t.Fatalf("%s %+v", e.Args, e.Gap)
		}
		works(t, "after the kick")
	})
	t.Run("banned", func(t *testing.T) {
		admin(t, `<item jid="one@xmpp.test" affiliation="outcast"/>`)
		eventually(t, "the reason", func() bool { return strings.Contains(status(t, b).Reason, "forbidden") })
		if err := b.Publish(ctx(t), &core.Event{Topic: address(room), Payload: core.TextPayload("x")}); core.CodeOf(err) != core.Forbidden {
			t.Fatal(err)
		}
		admin(t, `<item jid="one@xmpp.test" affiliation="none"/>`)
		if e := heard.next(); e.Gap == nil || !strings.Contains(e.Gap.Reason, "banned") {
			t.Fatalf("%s %+v", e.Args, e.Gap)
		}
		works(t, "after the ban")
	})
	t.Run("moderated", func(t *testing.T) {
		configure(t, room, `<field var="muc#roomconfig_moderatedroom"><value>1</value></field>`)
		admin(t, `<item nick="bridge" role="visitor"/>`)
		if err := b.Publish(ctx(t), &core.Event{Topic: address(room), Payload: core.TextPayload("x")}); core.CodeOf(err) != core.Forbidden {
			t.Fatal(err)
		}
		admin(t, `<item nick="bridge" role="participant"/>`)
		works(t, "with a voice again")
	})
	t.Run("the name is taken", func(t *testing.T) {
		other := "names@" + xmpptest.Rooms
		own(t, other, "bridge", "")
		subscribe(t, b, other)
		publish(t, b, other, `["hello"]`)
		if _, e := slix.Message(t); e["from"] != other+"/bridge2" {
			t.Fatal(e)
		}
	})
	t.Run("a password", func(t *testing.T) {
		secret := "secret@" + xmpptest.Rooms
		own(t, secret, "owner", `<field var="muc#roomconfig_passwordprotectedroom"><value>1</value></field><field var="muc#roomconfig_roomsecret"><value>s3cret</value></field>`)
		if _, err := b.Subscribe(ctx(t), pattern(secret)); core.CodeOf(err) != core.Forbidden {
			t.Fatal(err)
		}
		two := open(t, section(t, server, "two", map[string]any{"rooms": []any{map[string]any{"room": secret, "password": "s3cret", "nick": "Zwei"}}}))
		publish(t, two, secret, `["I know it"]`)
		if body, e := slix.Message(t); body != "I know it" || e["from"] != secret+"/Zwei" {
			t.Fatal(e)
		}
	})
	t.Run("no room is made", func(t *testing.T) {
		strict := open(t, section(t, server, "anybridge", map[string]any{"create_rooms": false}))
		if _, err := strict.Subscribe(ctx(t), pattern("none@"+xmpptest.Rooms)); core.CodeOf(err) != core.NotFound {
			t.Fatal(err)
		}
	})
	t.Run("destroyed", func(t *testing.T) {
		slix.Do(t, "iq", map[string]any{"to": room, "type": "set", "xml": `<query xmlns="` + nsOwner + `"><destroy/></query>`})
		if e := heard.next(); e.Gap == nil || !strings.Contains(e.Gap.Reason, "destroyed") {
			t.Fatalf("%s %+v", e.Args, e.Gap)
		}
		slix.Do(t, "join", map[string]any{"room": room, "nick": "guest"})
		works(t, "in a new room")
	})
}
