package xmpp

import (
	"slices"
	"time"

	"mellium.im/xmpp/jid"

	"github.com/anybridge/anybridge/backends/xmpp/stream"
)

// The statuses of XEP-0045 that matter here.
const (
	statusSelf    = "110"
	statusCreated = "201"
	statusBanned  = "301"
	statusNick    = "303"
	statusKicked  = "307"
)

const roomDestroyed = "the room was destroyed"

// onPresence follows who is in our rooms.
func (r *running) onPresence(e *stream.Element) {
	from, err := jid.Parse(e.Attr("from"))
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if from.Bare().Equal(r.config.jid.Bare()) {
		r.siblingLocked(from, e.Attr("type"))
		return
	}
	m := r.rooms[from.Bare().String()]
	if m == nil {
		return
	}
	x := e.Child(nsMUCUser, "x")
	var status []string
	if x != nil {
		for _, c := range x.Children {
			if c.Is(nsMUCUser, "status") {
				status = append(status, c.Attr("code"))
			}
		}
	}
	nick := from.Resourcepart()
	self := slices.Contains(status, statusSelf) || nick == m.nick
	switch e.Attr("type") {
	case "error":
		m.answer(e)
	case "unavailable":
		delete(m.occupants, nick)
		if self {
			m.leftLocked(x, status)
		}
	case "":
		if account, err := jid.Parse(x.Child("", "item").Attr("jid")); err == nil && len(m.occupants) < maxOccupants {
			m.occupants[nick] = account.Bare().String()
		}
		// Without the status it is an old service, or somebody whom the room lets share our
		// name while we are not in yet.
		if self && (slices.Contains(status, statusSelf) || m.self != nil) {
			m.nick, m.joined = nick, true
			m.fresh = m.fresh || slices.Contains(status, statusCreated)
			m.answer(e)
		}
	}
}

// siblingLocked follows which other sessions our account has: the server tells each
// session of the others.
func (r *running) siblingLocked(from jid.JID, kind string) {
	const most = 64
	switch {
	case kind == "unavailable":
		delete(r.siblings, from.String())
	case kind == "" && len(r.siblings) < most && from.Resourcepart() != "" && !from.Equal(r.client.JID()):
		r.siblings[from.String()] = from
	}
}

// answer hands what the room says to enter, if that waits for it.
func (m *room) answer(e *stream.Element) {
	if m.self != nil {
		select {
		case m.self <- e:
		default:
		}
	}
}

// leftLocked handles that we are out of the room, or have another name.
func (m *room) leftLocked(x *stream.Element, status []string) {
	if slices.Contains(status, statusNick) {
		if nick := x.Child("", "item").Attr("nick"); nick != "" {
			m.nick = nick
			return
		}
	}
	reason := "the room let us go"
	switch {
	case x.Child("", "destroy") != nil:
		reason = roomDestroyed
	case slices.Contains(status, statusBanned):
		reason = "we were banned from the room"
	case slices.Contains(status, statusKicked):
		reason = "we were kicked from the room"
	}
	if m.joined {
		m.r.client.Count("rooms_left_unwillingly", 1)
	}
	m.outLocked(reason, time.Now())
}
