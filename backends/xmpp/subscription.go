package xmpp

import (
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/kit"
)

// subscription is a topic's stream of events.
type subscription struct {
	*kit.Feed
	address core.Address // as it was asked for
	topic   topic
	room    *room // for a room
}

func newSubscription(r *running, p core.Pattern, t topic) *subscription {
	s := &subscription{address: p.Address, topic: t}
	s.Feed = kit.NewFeed(p, r.cfg().MaxQueuedEvents, r.cfg().MaxQueuedBytes, &r.feeds, func() { r.unsubscribe(s) })
	return s
}

// put hands on an event, or counts it if there is no room.
func (s *subscription) put(e core.Event) {
	e.Topic = s.address
	s.Put(&e)
}

// gap reports that events may be missing since then.
func (s *subscription) gap(since time.Time, reason string) {
	s.Missed(core.Gap{Since: since, Until: time.Now(), Reason: reason})
}
