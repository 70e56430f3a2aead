package irc

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/ergochat/irc-go/ircmsg"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/kit"
)

// details is what the system tells of an event.
type details struct {
	Publisher string `json:"publisher"`
	AuthID    string `json:"publisher_authid,omitempty"`
	Source    string `json:"source,omitempty"` // nick!user@host
	Notice    bool   `json:"notice,omitempty"`
	Action    bool   `json:"action,omitempty"`
	StatusMsg string `json:"statusmsg,omitempty"` // to members with this prefix only
}

// handleText handles a PRIVMSG or NOTICE.
func (c *conn) handleText(msg *ircmsg.Message) {
	if len(msg.Params) < 2 {
		return
	}
	target, text := msg.Params[0], msg.Params[1]
	nick := msg.Nick()
	if c.isMe(nick) {
		c.learn(msg)
		c.echoed(msg, target)
		return
	}
	if msg.Command == "NOTICE" {
		c.fromNickServ(msg)
	}
	if ok, ref := msg.GetTag("batch"); ok && isHistory(c.batches[ref].kind) {
		return
	}
	if !strings.Contains(msg.Source, "!") && strings.Contains(nick, ".") || nick == "" {
		return // the server itself
	}
	d := details{Publisher: spellable(nick), Source: spellable(msg.Source), Notice: msg.Command == "NOTICE"}
	if d.Publisher == "" {
		c.s.counters["hostile_lines"]++
		return
	}
	if c.caps["account-tag"] {
		_, account := msg.GetTag("account")
		d.AuthID = spellable(account)
	}
	if body, ok := strings.CutPrefix(text, "\x01"); ok {
		command, rest, _ := strings.Cut(strings.TrimSuffix(body, "\x01"), " ")
		if command != "ACTION" {
			c.handleCTCP(msg, command, rest)
			return
		}
		text, d.Action = rest, true
	}
	plainText := plain(strings.ToValidUTF8(text, "\uFFFD"))
	if c.s.cfg.Formatting != "keep" {
		text = plainText
	}
	if isChannel(target, c.is.chanTypes) || c.isMe(target) {
		c.hear(msg, target, text, d)
	} else if name := strings.TrimLeft(target, c.is.statusMsg); c.is.statusMsg != "" && isChannel(name, c.is.chanTypes) {
		d.StatusMsg = target[:len(target)-len(name)]
		c.hear(msg, name, text, d)
	} else {
		return
	}
	if !d.Notice && !d.Action {
		c.handleCommand(target, plainText, d)
	}
}

// hear hands a message to the subscriptions: of the channel or, if it is private, of
// its sender and of all private messages.
func (c *conn) hear(msg *ircmsg.Message, target, text string, d details) {
	s := c.s
	e := core.Event{Payload: core.TextPayload(text), Time: time.Now()}
	if ok, at := msg.GetTag("time"); ok {
		if t, err := time.Parse(time.RFC3339Nano, at); err == nil {
			e.Time = t
		}
	}
	if _, id := msg.GetTag("msgid"); validID(id) {
		e.ID = id
	}
	if _, via := msg.GetTag(viaTag); validID(via) {
		e.Via = via
	}
	topic := d.Publisher
	if isChannel(target, c.is.chanTypes) {
		if topic = spellable(target); topic == "" {
			s.counters["hostile_lines"]++
			return
		}
		if ch := s.chans[s.fold.fold(target)]; ch != nil {
			topic = ch.name
		}
	}
	folded := s.fold.fold(topic)
	for _, sub := range s.subs {
		name := sub.covers(topic, folded)
		if name == "" && sub.pattern.Name == privateTopic && !isChannel(topic, c.is.chanTypes) {
			name = privateTopic
		}
		if name == "" {
			continue
		}
		if e.Details == nil {
			e.Details, _ = json.Marshal(d) // strings and booleans always have a JSON
		}
		if e.ID == "" {
			e.ID = core.NewID("irc")
		}
		heard := e
		heard.Topic = core.Address{Backend: sub.pattern.Backend, Name: name}
		sub.Put(&heard)
	}
}

// subscription is one of the host's subscriptions.
type subscription struct {
	*kit.Feed
	pattern core.Pattern
	folded  string
}

// maxQueuedBytes bounds what waits for one subscription.
const maxQueuedBytes = 64 << 20

// covers reports under which name the subscription hears of a topic, or "".
func (sub *subscription) covers(topic, folded string) string {
	switch sub.pattern.Match {
	case core.Prefix, core.Wildcard:
		p := core.Pattern{Address: core.Address{Name: sub.folded}, Match: sub.pattern.Match}
		if p.Matches(core.Address{Name: folded}) {
			return topic
		}
	default:
		if sub.folded == folded {
			return sub.pattern.Name
		}
	}
	return ""
}

// gapChannel reports that events of a channel may be missing. s.mu is held.
func (s *session) gapChannel(ch *channel, since, until time.Time) {
	s.gap(ch.name, since, until, func(sub *subscription) string { return sub.covers(ch.name, s.fold.fold(ch.name)) })
}

// gapPrivate reports that private messages may be missing. s.mu is held.
func (s *session) gapPrivate(since, until time.Time) {
	s.gap(privateTopic, since, until, func(sub *subscription) string {
		if isChannel(sub.pattern.Name, defaultChanTypes) {
			return ""
		}
		return sub.pattern.Name
	})
}

func (s *session) gap(topic string, since, until time.Time, covers func(*subscription) string) {
	for _, sub := range s.subs {
		if name := covers(sub); name != "" {
			sub.Put(&core.Event{Topic: core.Address{Backend: sub.pattern.Backend, Name: name}, Gap: &core.Gap{
				Since: since, Until: until, Reason: "not on IRC as " + topic,
			}})
		}
	}
}
