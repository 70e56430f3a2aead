package xmpp

import (
	"encoding/json"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"github.com/anybridge/anybridge/backends/xmpp/stream"
	"github.com/anybridge/anybridge/core"
)

// details is what an event tells beside its payload.
type details struct {
	Publisher       string `json:"publisher,omitempty"`
	PublisherAuthID string `json:"publisher_authid,omitempty"`
	ID              string `json:"id,omitempty"` // the stanza's, or the item's
	Type            string `json:"type,omitempty"`
	Lang            string `json:"lang,omitempty"`
	Replaces        string `json:"replaces,omitempty"` // the id of the message that this one corrects
	Delayed         bool   `json:"delayed,omitempty"`  // the server kept it for us
}

func (d details) json() json.RawMessage {
	b, err := json.Marshal(d)
	if err != nil { // strings always have a JSON
		panic(err)
	}
	return b
}

// onStanza takes what is not an answer. It never waits.
func (r *running) onStanza(e *stream.Element) {
	switch e.Name.Local {
	case "message":
		r.onMessage(e)
	case "presence":
		r.onPresence(e)
	case "iq":
		r.onRequest(e)
	}
}

func (r *running) onMessage(m *stream.Element) {
	from, err := jid.Parse(m.Attr("from"))
	if err != nil {
		from = r.client.JID().Bare() // our server, in our account's name
	}
	switch {
	case m.Attr("type") == "error":
		r.onMessageError(from, m)
	case m.Child(nsEvent, "event") != nil:
		r.onItems(from, m)
	case m.Attr("type") == "groupchat":
		r.onRoomMessage(from, m)
	default:
		r.onChat(from, m)
	}
}

// onMessageError hears that a message was refused. A room that says we are not in it has
// lost us.
func (r *running) onMessageError(from jid.JID, m *stream.Element) {
	r.settle(from, m)
	if name, _ := condition(m); name != "not-acceptable" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if room := r.rooms[from.String()]; room != nil {
		room.outLocked("the room had lost us without a word", time.Now())
	}
}

func (r *running) onRoomMessage(from jid.JID, m *stream.Element) {
	bare, nick := from.Bare().String(), from.Resourcepart()
	r.mu.Lock()
	room := r.rooms[bare]
	if room == nil || !room.joined {
		r.mu.Unlock()
		return
	}
	own, account := nick == room.nick, room.occupants[nick]
	r.mu.Unlock()
	if own && strings.HasPrefix(m.Attr("id"), r.client.Prefix()) {
		r.settle(from, m) // ours has come back
		return
	}
	stamp, delayed, foreign := r.delay(m)
	if foreign {
		return // history
	}
	payload, via, ok := messagePayload(m)
	if !ok {
		return
	}
	d := messageDetails(m)
	d.Publisher, d.PublisherAuthID, d.Delayed = nick, account, delayed
	r.deliver(bare, core.Event{ID: orNew(messageID(m)), Payload: payload, Via: via, Time: stamp, Details: d.json()})
}

func (r *running) onChat(from jid.JID, m *stream.Element) {
	if id := m.Child(nsReceipts, "received"); id != nil {
		r.client.Count("receipts_received", 1)
	}
	bare := from.Bare().String()
	if strings.HasPrefix(m.Attr("id"), r.client.Prefix()) && bare == r.client.JID().Bare().String() {
		return // what we sent to ourselves
	}
	payload, via, ok := messagePayload(m)
	if !ok {
		return
	}
	stamp, delayed, _ := r.delay(m)
	d := messageDetails(m)
	d.Publisher, d.PublisherAuthID, d.Delayed = from.String(), bare, delayed
	r.mu.Lock()
	_, inRoom := r.rooms[bare]
	r.mu.Unlock()
	if inRoom {
		d.PublisherAuthID = "" // an occupant, in private
	}
	e := core.Event{ID: orNew(messageID(m)), Payload: payload, Via: via, Time: stamp, Details: d.json()}
	taken := r.deliver(Inbox, e)
	if !inRoom {
		taken = r.deliver(bare, e) || taken
	}
	if id := m.Attr("id"); taken && id != "" && m.Child(nsReceipts, "request") != nil {
		r.send(stream.E(nsClient, "message", stream.E(nsReceipts, "received").Set("id", id)).
			Set("to", from.String()).Set("type", m.Attr("type")))
	}
}

func messageDetails(m *stream.Element) details {
	d := details{ID: m.Attr("id"), Type: m.Attr("type"), Replaces: m.Child(nsReplace, "replace").Attr("id")}
	if d.Type == "" {
		d.Type = "normal"
	}
	for _, a := range m.Attrs {
		if a.Name.Local == "lang" && a.Name.Space != "" {
			d.Lang = a.Value
		}
	}
	return d
}

// delay reads when a message was sent (XEP-0203): now, or before our server kept it for
// us, while we were away or our connection was. A delay that is not our server's, or that
// nobody has signed, is foreign: the room or the node tells of old times.
func (r *running) delay(m *stream.Element) (stamp time.Time, delayed, foreign bool) {
	stamp = time.Now()
	me := r.client.JID()
	for _, c := range m.Children {
		if !c.Is(nsDelay, "delay") {
			continue
		}
		switch c.Attr("from") {
		case me.Domainpart(), me.Bare().String():
		case "": // some servers do not sign a node's last item
			foreign = true
		default:
			return stamp, false, true
		}
		if t, err := time.Parse(time.RFC3339, c.Attr("stamp")); err == nil && t.Before(stamp) {
			stamp, delayed = t, true
		}
	}
	return stamp, delayed, foreign
}

// orNew is the id, or a new one if there is none.
func orNew(id string) string {
	if id == "" {
		return core.NewID("xmpp")
	}
	return id
}
