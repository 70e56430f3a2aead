package xmpp

import (
	"context"
	"sync"
	"time"

	"github.com/anybridge/anybridge/core"
)

// subscription is a topic's stream of events. It implements core.Stream.
type subscription struct {
	*core.Pipe[*core.Event]
	r       *running
	address core.Address // as it was asked for
	topic   topic
	room    *room // for a room

	mu     sync.Mutex
	full   bool // something had no room since the last report
	lost   int64
	since  time.Time
	reason string
}

func newSubscription(r *running, address core.Address, t topic) *subscription {
	s := &subscription{r: r, address: address, topic: t}
	s.Pipe = core.NewPipe[*core.Event](r.cfg().MaxQueuedEvents, r.cfg().MaxQueuedBytes, func() { r.unsubscribe(s) })
	return s
}

// put hands on an event, or counts it if there is no room.
func (s *subscription) put(e core.Event) {
	const overhead = 256
	e.Topic = s.address
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.TryPut(&e, e.Size()+len(e.Details)+overhead) {
		return
	}
	if !s.full {
		s.full, s.lost, s.since, s.reason = true, 0, time.Now(), "the subscriber is slower than the topic"
	}
	if e.Gap != nil {
		s.since, s.reason = e.Gap.Since, e.Gap.Reason
		return
	}
	s.lost++
	s.r.client.Count("events_dropped", 1)
}

// Next implements core.Stream. After what waited it tells what had no room.
func (s *subscription) Next(ctx context.Context) ([]*core.Event, error) {
	batch, err := s.Pipe.Next(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		batch = append(batch, &core.Event{Topic: s.address, Gap: &core.Gap{
			Since: s.since, Until: time.Now(), Lost: s.lost, Reason: s.reason,
		}})
		s.full = false
	}
	return batch, nil
}

// gap reports that events may be missing since then.
func (s *subscription) gap(since time.Time, reason string) {
	s.r.client.Count("gaps", 1)
	s.put(core.Event{Gap: &core.Gap{Since: since, Until: time.Now(), Reason: reason}})
}
