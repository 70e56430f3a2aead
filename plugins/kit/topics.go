package kit

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/anybridge/anybridge/core"
)

// Topics is the table of what a backend has subscribed to on its system. It makes the
// streams of Subscribe and Register, lets those that need the same topic of the system
// share it, and hands them the messages, which are of type M. All methods may be called
// concurrently.
type Topics[M any] struct {
	link   *Link
	o      TopicsOptions[M]
	counts FeedCounts
	turns  turns // one request for a topic at a time

	mu    sync.Mutex
	last  int
	ended bool
	table map[string]*shared[M] // by the system's name
	byID  map[int]*shared[M]
}

// TopicsOptions say how a system is subscribed to and read. The functions may be called
// concurrently.
type TopicsOptions[M any] struct {
	// Subscribe asks the system, on its newest connection, for a topic and returns when it
	// has accepted; Unsubscribe, which has five seconds, withdraws that. Both may ask for
	// what is so already. Their errors are treated like those in Link.Do.
	Subscribe, Unsubscribe func(context.Context, Topic) error
	// Event reads a message that came for a subscription: Topic.Name, Payload and what
	// else is known; nil leaves it out. Topics adds the backend's name and the time, and
	// leaves out what the pattern does not match.
	Event func(M) *core.Event
	// Invocation reads a message that came for a registration: Payload, Reply and what
	// else is known; nil leaves it out.
	Invocation func(M) *core.Invocation
	// MaxEvents and MaxBytes are those of each Feed; MaxBytes is also that of each Calls.
	MaxEvents, MaxBytes int
}

// Topic is what is subscribed to on the system.
type Topic struct {
	Name  string // the system's own
	ID    int    // for Deliver; not 0, and never used again
	Calls bool   // for a procedure
	Again bool   // it was subscribed to before: on another connection
}

// shared is a topic of the system with those who hear of it.
type shared[M any] struct {
	Topic
	hearers []*hearer[M]
}

type hearer[M any] struct {
	feed  *Feed // or nil …
	calls *Calls
	hear  func(M)
}

// NewTopics makes an empty table for the system that the link leads to.
func NewTopics[M any](link *Link, o TopicsOptions[M]) *Topics[M] {
	return &Topics[M]{link: link, o: o, table: map[string]*shared[M]{}, byID: map[int]*shared[M]{}}
}

// Feed subscribes to a topic of the system that covers the pattern, and perhaps more.
func (t *Topics[M]) Feed(ctx context.Context, topic string, p core.Pattern) (core.Stream[*core.Event], error) {
	h := &hearer[M]{}
	h.feed = NewFeed(p, t.o.MaxEvents, t.o.MaxBytes, &t.counts, func() { t.leave(topic, h) })
	h.hear = func(m M) {
		e := t.o.Event(m)
		if e == nil {
			return
		}
		e.Topic.Backend = p.Backend
		if e.Time.IsZero() {
			e.Time = time.Now()
		}
		if p.Matches(e.Topic) && e.Topic.Valid() == nil {
			h.feed.Put(e)
		}
	}
	if err := t.join(ctx, topic, h); err != nil {
		return nil, err
	}
	return h.feed, nil
}

// Calls subscribes to a topic of the system on which the calls of a procedure come. The
// error is AlreadyExists if that is so already.
func (t *Topics[M]) Calls(ctx context.Context, topic string, procedure core.Address) (core.Stream[*core.Invocation], error) {
	h := &hearer[M]{}
	h.calls = NewCalls(0, t.o.MaxBytes, func() { t.leave(topic, h) })
	h.hear = func(m M) {
		if inv := t.o.Invocation(m); inv != nil {
			inv.Procedure = procedure
			h.calls.Put(inv)
		}
	}
	if err := t.join(ctx, topic, h); err != nil {
		return nil, err
	}
	return h.calls, nil
}

func (t *Topics[M]) join(ctx context.Context, topic string, h *hearer[M]) error {
	t.mu.Lock()
	s := t.table[topic]
	switch {
	case t.ended:
		t.mu.Unlock()
		return core.Errorf(core.Unavailable, "the backend is closing")
	case s != nil && (s.Calls || h.calls != nil):
		t.mu.Unlock()
		return core.Errorf(core.AlreadyExists, "the procedure is registered already")
	case s == nil:
		t.last++
		s = &shared[M]{Topic: Topic{Name: topic, ID: t.last, Calls: h.calls != nil}}
		t.table[topic], t.byID[s.ID] = s, s
	}
	s.hearers = append(s.hearers, h) // before the first message can come
	ask := s.Topic
	t.mu.Unlock()
	err := t.turns.take(ctx, topic, func() error {
		return t.link.Do(ctx, func(ctx context.Context) error { return t.o.Subscribe(ctx, ask) })
	})
	if err != nil {
		t.leave(topic, h) // the system may have accepted it all the same
	}
	return err
}

// leave unsubscribes when nobody needs the topic any more.
func (t *Topics[M]) leave(topic string, h *hearer[M]) {
	t.mu.Lock()
	s := t.table[topic]
	if s == nil || !slices.Contains(s.hearers, h) {
		t.mu.Unlock()
		return
	}
	last := len(s.hearers) == 1
	if last {
		delete(t.table, topic)
	}
	if !last || h.feed != nil {
		s.hearers = slices.DeleteFunc(s.hearers, func(x *hearer[M]) bool { return x == h })
	} // calls that come until the system knows are refused by h
	t.mu.Unlock()
	if last {
		t.withdraw(s.Topic)
		t.mu.Lock()
		delete(t.byID, s.ID)
		t.mu.Unlock()
	}
}

// withdraw unsubscribes from a topic that nobody needs, unless somebody has come since.
func (t *Topics[M]) withdraw(topic Topic) {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = t.turns.take(ctx, topic.Name, func() error { // a connection that is gone has no subscriptions
		t.mu.Lock()
		needed := t.table[topic.Name] != nil
		t.mu.Unlock()
		if needed {
			return nil
		}
		return t.link.Do(ctx, func(ctx context.Context) error { return t.o.Unsubscribe(ctx, topic) })
	})
}

// Deliver hands a message to those who hear of the topic with this ID. It does not wait.
func (t *Topics[M]) Deliver(id int, m M) {
	t.mu.Lock()
	defer t.mu.Unlock() // so that nothing comes in after End
	if s := t.byID[id]; s != nil {
		for _, h := range s.hearers {
			h.hear(m)
		}
	}
}

// End ends every stream, and answers all calls that are open. Nothing comes in any more.
func (t *Topics[M]) End() {
	t.mu.Lock()
	table := t.table
	t.table, t.byID, t.ended = nil, nil, true
	t.mu.Unlock()
	for _, s := range table {
		for _, h := range s.hearers {
			if h.feed != nil {
				h.feed.End(nil)
			} else {
				h.calls.End()
			}
		}
	}
}

// Count adds what the feeds have counted to a backend's Status.
func (t *Topics[M]) Count(s core.Status) {
	s.Counters["events_in"] = t.counts.Events.Load()
	s.Counters["events_dropped"] = t.counts.Dropped.Load()
	s.Counters["gaps"] = t.counts.Gaps.Load()
}
