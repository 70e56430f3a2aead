package xmpp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"mellium.im/xmpp/jid"

	"github.com/anybridge/anybridge/backends/xmpp/stream"
	"github.com/anybridge/anybridge/core"
)

// pending is a message that waits to be reflected, or refused.
type pending struct {
	to      jid.JID // bare
	outcome chan *stream.Element
}

// publish implements Backend.Publish.
func (r *running) publish(ctx context.Context, e *core.Event) error {
	t, err := parseTopic(e.Topic.Name)
	switch {
	case err != nil:
		return err
	case t.inbox:
		return core.Errorf(core.InvalidArgument, "topic %s is only for hearing: publish to the user's address", Inbox)
	}
	if err := r.client.Up(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, answerPatience,
		core.Errorf(core.Unavailable, "publish to %s: no answer in %s; whether it arrived is not known", t.key(), answerPatience))
	defer cancel()
	err = r.publishTo(ctx, t, e)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

func (r *running) publishTo(ctx context.Context, t topic, e *core.Event) error {
	if t.node != "" {
		return r.publishItem(ctx, t, e)
	}
	isRoom, err := r.isRoom(ctx, t.entity)
	if err != nil {
		return err
	}
	id := r.client.NewID()
	text := stream.Clean(e.Text())
	m := stream.E(nsClient, "message").Set("to", t.key()).Set("id", id).
		Add(stream.T("", "body", text), envelope(e.Payload, e.Via, text))
	if isRoom {
		return r.publishRoom(ctx, t, e, id, m.Set("type", "groupchat"))
	}
	return r.publishChat(ctx, t, e, id, m.Set("type", "chat"))
}

// publishRoom sends a message to a room and waits for the room to send it to us, too.
func (r *running) publishRoom(ctx context.Context, t topic, e *core.Event, id string, m *stream.Element) error {
	r.mu.Lock()
	room := r.roomLocked(t.key())
	r.mu.Unlock()
	if room == nil {
		return r.noRoom()
	}
	if err := room.ready(ctx); err != nil {
		return err
	}
	p := r.expect(id, t.entity)
	defer r.unexpect(id)
	ended := r.client.Ended()
	if _, err := r.client.Send(m, false); err != nil {
		return err
	}
	select {
	case answer := <-p.outcome:
		if answer.Attr("type") == "error" {
			return stanzaError(answer, "publish to "+t.key())
		}
		e.ID = messageID(answer)
		return nil
	case <-ended:
		return core.Errorf(core.Unavailable, "publish to %s: the connection was lost; whether it arrived is not known", t.key())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// publishChat sends a message to a user and waits for our server to have it.
func (r *running) publishChat(ctx context.Context, t topic, e *core.Event, id string, m *stream.Element) error {
	p := r.expect(id, t.entity)
	defer r.unexpect(id)
	sent, err := r.client.Send(m.Add(stream.E(nsReceipts, "request")), true)
	if err != nil {
		return err
	}
	select {
	case <-sent.Done():
		if err := sent.Err(); err != nil {
			return err
		}
	case answer := <-p.outcome:
		return stanzaError(answer, "publish to "+t.key())
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case answer := <-p.outcome:
		return stanzaError(answer, "publish to "+t.key())
	default:
	}
	e.ID = hash(r.client.JID().String(), id)
	return nil
}

func (r *running) expect(id string, to jid.JID) *pending {
	p := &pending{to: to, outcome: make(chan *stream.Element, 1)}
	r.mu.Lock()
	r.pending[id] = p
	r.mu.Unlock()
	return p
}

func (r *running) unexpect(id string) {
	r.mu.Lock()
	delete(r.pending, id)
	r.mu.Unlock()
}

// settle hands what came back to the publish that waits for it.
func (r *running) settle(from jid.JID, e *stream.Element) {
	r.mu.Lock()
	p := r.pending[e.Attr("id")]
	r.mu.Unlock()
	if p != nil && p.to.Equal(from.Bare()) {
		select {
		case p.outcome <- e:
		default:
		}
	}
}

// messageID is an event's id: the room's own if it gives one, else made of the sender's
// address and id, so that no sender can take another's.
func messageID(m *stream.Element) string {
	from, id := m.Attr("from"), m.Attr("id")
	bare, _, _ := strings.Cut(from, "/")
	for _, c := range m.Children {
		if c.Is(nsStanzaID, "stanza-id") && c.Attr("by") == bare && c.Attr("id") != "" {
			return hash(bare, c.Attr("id"))
		}
	}
	if id == "" {
		return ""
	}
	return hash(from, id)
}

// hash makes an id of fixed length.
func hash(parts ...string) string {
	const length = 16
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:length])
}
