package xmpp

import (
	"context"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"github.com/anybridge/anybridge/backends/xmpp/stream"
	"github.com/anybridge/anybridge/core"
)

// publishItem publishes to a PubSub node.
func (r *running) publishItem(ctx context.Context, t topic, e *core.Event) error {
	c := contain(e.Payload)
	c.Via = e.Via
	content := c.element()
	id := r.client.NewID()
	publish := func() error {
		item := stream.E("", "item", content).Set("id", id)
		_, err := r.ask(ctx, "set", t.entity, "publish to "+t.key(),
			stream.E(nsPubSub, "pubsub", stream.E("", "publish", item).Set("node", t.node)))
		return err
	}
	err := publish()
	if core.CodeOf(err) == core.NotFound && orTrue(r.cfg().CreateNodes) {
		if r.createNode(ctx, t) == nil {
			err = publish() // nothing was published before
		}
	}
	if err == nil {
		e.ID = hash(t.key(), id)
	}
	return err
}

// subscribeNode subscribes our full address.
func (r *running) subscribeNode(ctx context.Context, t topic) error {
	subscribe := func() error {
		answer, err := r.ask(ctx, "set", t.entity, "subscribe to "+t.key(), stream.E(nsPubSub, "pubsub",
			stream.E("", "subscribe").Set("node", t.node).Set("jid", r.client.JID().String())))
		if err != nil {
			return err
		}
		switch state := answer.Child(nsPubSub, "pubsub").Child("", "subscription").Attr("subscription"); state {
		case "pending":
			return core.Errorf(core.Forbidden, "subscribe to %s: the node's owner has to approve of it first", t.key())
		case "unconfigured":
			return core.Errorf(core.Unimplemented, "subscribe to %s: the service wants the subscription configured", t.key())
		}
		return nil
	}
	err := subscribe()
	if core.CodeOf(err) == core.NotFound && orTrue(r.cfg().CreateNodes) {
		if r.createNode(ctx, t) == nil {
			err = subscribe()
		}
	}
	return err
}

func (r *running) createNode(ctx context.Context, t topic) error {
	_, err := r.ask(ctx, "set", t.entity, "create "+t.key(),
		stream.E(nsPubSub, "pubsub", stream.E("", "create").Set("node", t.node)))
	if core.CodeOf(err) == core.AlreadyExists {
		return nil // somebody was faster
	}
	return err
}

func (r *running) unsubscribeNode(t topic) *stream.Element {
	return stream.E(nsClient, "iq", stream.E(nsPubSub, "pubsub",
		stream.E("", "unsubscribe").Set("node", t.node).Set("jid", r.client.JID().String()))).
		Set("type", "set").Set("id", r.client.NewID()).Set("to", t.entity.String())
}

// onItems handles what a node notifies of.
func (r *running) onItems(from jid.JID, m *stream.Element) {
	event := m.Child(nsEvent, "event")
	for _, c := range event.Children {
		t := topic{entity: from, node: c.Attr("node")}
		if t.node == "" {
			continue
		}
		switch {
		case c.Is(nsEvent, "items"):
			r.onNodeItems(t, m, c)
		case c.Is(nsEvent, "delete"), c.Is(nsEvent, "subscription") && c.Attr("subscription") == "none" &&
			c.Attr("jid") == r.client.JID().String():
			r.onNodeLost(t)
		}
	}
}

func (r *running) onNodeItems(t topic, m, items *stream.Element) {
	// What the service itself delayed is old: it sends a node's last item to whoever
	// subscribes. What our own server delayed, it kept for us.
	stamp, delayed, foreign := r.delay(m)
	if foreign {
		return
	}
	for _, item := range items.Children {
		id := item.Attr("id")
		if !item.Is(nsEvent, "item") || strings.HasPrefix(id, r.client.Prefix()) {
			continue
		}
		payload, via := itemPayload(item)
		d := details{ID: id, Publisher: item.Attr("publisher"), Delayed: delayed} // services need not vouch for it
		// An id may be used again for another item, so it is told among the details only.
		r.deliver(t.key(), core.Event{ID: core.NewID("xmpp"), Payload: payload, Via: via, Time: stamp, Details: d.json()})
	}
}

// onNodeLost subscribes again to a node that was deleted, or whose owner put us out.
func (r *running) onNodeLost(t topic) {
	r.mu.Lock()
	defer r.mu.Unlock()
	session := r.session
	for _, s := range r.subs[t.key()] {
		r.spawnLocked(func() { r.resubscribe(session, s, time.Now()) })
	}
}
