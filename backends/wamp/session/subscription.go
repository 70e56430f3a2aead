package session

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/core"
)

// maxEventBatch is how many events one Next of a subscription returns.
const maxEventBatch = 1024

// subscription is a binding of a topic pattern, and the stream of its events.
type subscription struct {
	s       *Session
	pattern core.Pattern
	queue   *core.Pipe[arrival]

	change   sync.Mutex // held during SUBSCRIBE and UNSUBSCRIBE
	at       *conn      // where it is established, or nil; changed with change and at.mu held
	id       wamp.ID    // under which id it is established there
	once     sync.Once
	closed   chan struct{} // Close has begun
	released chan struct{} // Close is done

	established atomic.Bool // on any connection so far

	puts  sync.Mutex // held while something is put into the queue
	lost  int64      // how many events did not fit since the last that did
	since time.Time  // when the first of them came

	rest []arrival // taken out of the queue by Next, and not handed on
	out  []*core.Event
}

// arrival is an event as it waits for its consumer, who converts it; or a gap.
type arrival struct {
	msg  *wamp.Event
	time time.Time
	gap  *core.Gap
}

// Subscribe returns when the router has accepted the subscription.
func (s *Session) Subscribe(ctx context.Context, p core.Pattern) (core.Stream[*core.Event], error) {
	if err := checkName("topic", p.Name, p.Match); err != nil {
		return nil, err
	}
	b := &subscription{
		s: s, pattern: p,
		queue:    core.NewPipe[arrival](s.o.MaxEvents, s.o.MaxEventBytes, nil),
		closed:   make(chan struct{}),
		released: make(chan struct{}),
	}
	if err := s.bind(ctx, b); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *subscription) key() bindingKey          { return bindingKey{"subscription", b.pattern} }
func (b *subscription) closing() <-chan struct{} { return b.closed }
func (b *subscription) gone() <-chan struct{}    { return b.released }
func (b *subscription) end()                     { b.queue.End(nil) }

// establish implements binding. The dispatcher enters the subscription into the
// connection's table when it sees SUBSCRIBED, so that no event that follows is lost.
func (b *subscription) establish(ctx context.Context, c *conn) error {
	b.change.Lock()
	defer b.change.Unlock()
	if isClosed(b.closed) {
		return nil
	}
	if _, ok := b.bound(c); ok {
		return nil
	}
	options := wamp.Dict{}
	if b.pattern.Match != core.Exact && b.pattern.Match != "" {
		options["match"] = string(b.pattern.Match)
	}
	late := false // guarded by c.mu
	msg, err := c.do(ctx, &request{
		build: func(id wamp.ID) wamp.Message {
			return &wamp.Subscribe{Request: id, Options: options, Topic: wamp.URI(b.pattern.Name)}
		},
		accept: func(msg wamp.Message) {
			m, ok := msg.(*wamp.Subscribed)
			if !ok {
				return
			}
			c.mu.Lock()
			if !late {
				b.at, b.id = c, m.Subscription
				c.subs[m.Subscription] = b
				if b.established.Swap(true) {
					b.reconnected()
				}
			}
			undo := late
			c.mu.Unlock()
			if undo {
				b.s.spawn(func() { _ = b.unsubscribe(c, m.Subscription) })
			}
		},
	})
	if err != nil {
		c.mu.Lock()
		late = true
		c.mu.Unlock()
		if id, ok := b.unbound(c); ok { // the answer came in the last moment
			b.s.spawn(func() { _ = b.unsubscribe(c, id) })
		}
		return err
	}
	if _, ok := msg.(*wamp.Subscribed); !ok {
		return unexpectedAnswer("SUBSCRIBE", msg)
	}
	return nil
}

// bound returns the subscription's id on c, if it is established there.
func (b *subscription) bound(c *conn) (wamp.ID, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return b.id, b.at == c
}

// unbound takes the subscription out of c's table.
func (b *subscription) unbound(c *conn) (wamp.ID, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.at != c {
		return 0, false
	}
	if c.subs[b.id] == b {
		delete(c.subs, b.id)
	}
	b.at = nil
	return b.id, true
}

func (b *subscription) unsubscribe(c *conn, id wamp.ID) error {
	ctx, cancel := context.WithTimeout(b.s.ctx, requestTimeout)
	defer cancel()
	_, err := c.do(ctx, &request{build: func(request wamp.ID) wamp.Message {
		return &wamp.Unsubscribe{Request: request, Subscription: id}
	}})
	return err
}

// Close implements core.Stream.
func (b *subscription) Close() error {
	var err error
	b.once.Do(func() {
		close(b.closed)
		_ = b.queue.Close()
		b.change.Lock()
		defer b.change.Unlock()
		if c := b.s.current.Load(); c != nil {
			if id, ok := b.unbound(c); ok {
				err = b.unsubscribe(c, id)
			}
		}
		b.s.unbind(b)
		close(b.released)
	})
	switch core.CodeOf(err) {
	case core.Unavailable, core.NotFound: // the router has forgotten it anyhow
		return nil
	}
	return err
}

// event puts an EVENT into its subscription's queue.
func (c *conn) event(m *wamp.Event) {
	c.mu.Lock()
	b := c.subs[m.Subscription]
	c.mu.Unlock()
	if b == nil {
		c.s.count.unexpected.Add(1)
		return
	}
	c.s.count.eventsIn.Add(1)
	b.put(arrival{msg: m, time: time.Now()})
}

// put never waits: an event for which there is no room is dropped, counted and
// logged. Before the next one that fits, a gap says how many there were.
func (b *subscription) put(a arrival) {
	b.puts.Lock()
	defer b.puts.Unlock()
	if b.lost > 0 && b.queue.TryPut(arrival{gap: &core.Gap{
		Since: b.since, Until: a.time, Lost: b.lost, Reason: "the queue of the subscription was full",
	}}, gapSize) {
		b.lost = 0
	}
	if b.lost == 0 && b.queue.TryPut(a, payloadSize(a.msg)) || isClosed(b.closed) {
		return
	}
	if b.lost == 0 {
		b.since = a.time
	}
	b.lost++
	b.s.count.eventsDropped.Add(1)
	b.s.limitedWarn("event dropped: the queue is full", slog.String("subscription", b.pattern.Name), slog.Int("queued", b.queue.Len()))
}

// gapSize is what a gap counts in a queue.
const gapSize = 256

// reconnected puts the time without a connection into the queue as a gap. If that is full,
// the gap of the overflow begins earlier instead.
func (b *subscription) reconnected() {
	b.puts.Lock()
	defer b.puts.Unlock()
	now := time.Now()
	since := now
	if t := b.s.lostAt.Load(); t != nil {
		since = *t
	}
	if b.lost > 0 || !b.queue.TryPut(arrival{gap: &core.Gap{Since: since, Until: now, Reason: "the connection to the router was lost"}}, gapSize) {
		if b.lost == 0 {
			b.since = since
		}
		b.lost++
	}
}

// topic is the concrete topic of an event.
func (b *subscription) topic(m *wamp.Event) string {
	if topic, ok := wamp.AsString(m.Details["topic"]); ok && topic != "" {
		return topic
	}
	return b.pattern.Name
}

// Next implements core.Stream.
func (b *subscription) Next(ctx context.Context) ([]*core.Event, error) {
	for {
		if isClosed(b.closed) {
			return nil, io.EOF
		}
		if len(b.rest) == 0 {
			batch, err := b.queue.Next(ctx)
			if err != nil {
				return nil, err
			}
			b.rest = batch
		}
		n := min(len(b.rest), maxEventBatch)
		clear(b.out)
		b.out = b.out[:0]
		for i := range b.rest[:n] {
			if gap := b.rest[i].gap; gap != nil {
				b.out = append(b.out, &core.Event{Topic: b.pattern.Address, Gap: gap})
				continue
			}
			e, err := b.read(&b.rest[i])
			if err != nil {
				b.s.count.damaged.Add(1)
				b.s.limitedWarn("event dropped", slog.String("subscription", b.pattern.Name), slog.Any("error", err))
				continue
			}
			b.out = append(b.out, e)
		}
		b.rest = b.rest[n:]
		if len(b.out) > 0 {
			return b.out, nil
		}
	}
}

func (b *subscription) read(a *arrival) (*core.Event, error) {
	payload, err := readPayload(a.msg, a.msg.Arguments, a.msg.ArgumentsKw)
	if err != nil {
		return nil, err
	}
	return &core.Event{
		ID:      formatID(a.msg.Publication),
		Topic:   core.Address{Backend: b.pattern.Backend, Name: b.topic(a.msg)},
		Payload: payload,
		Time:    a.time,
		Details: detailsJSON(a.msg.Details),
	}, nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
