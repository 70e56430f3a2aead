package xmpp

import (
	"strings"

	"mellium.im/xmpp/jid"

	"github.com/anybridge/anybridge/core"
)

// Inbox is the topic of all chat messages that come to the account, whoever sends them.
const Inbox = "inbox"

// topic is the name of a topic, understood.
type topic struct {
	entity jid.JID // a bare JID: a room, a user, or who has the node
	node   string  // of PubSub; "" for messages
	inbox  bool
}

// parseTopic reads a topic's name: "room@service", "user@server", "entity!node", or
// "inbox".
func parseTopic(name string) (topic, error) {
	if name == Inbox {
		return topic{inbox: true}, nil
	}
	entity, node, isNode := strings.Cut(name, "!")
	j, err := jid.Parse(entity)
	switch {
	case err != nil:
		return topic{}, core.Errorf(core.InvalidArgument, "topic %q: %q is not a JID", name, entity)
	case isNode && node == "":
		return topic{}, core.Errorf(core.InvalidArgument, "topic %q: the node after the ! is missing", name)
	case !isNode && j.Localpart() == "":
		return topic{}, core.Errorf(core.InvalidArgument, "topic %q: want room@service, user@server, or service!node", name)
	case j.Resourcepart() != "":
		return topic{}, core.Errorf(core.InvalidArgument, "topic %q: want the address without a resource: %s", name, j.Bare())
	}
	return topic{entity: j, node: node}, nil
}

// key is the same for every spelling of a topic.
func (t topic) key() string {
	switch {
	case t.inbox:
		return Inbox
	case t.node != "":
		return t.entity.String() + "!" + t.node
	}
	return t.entity.String()
}
