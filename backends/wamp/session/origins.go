package session

import (
	"sync"
	"time"

	"github.com/gammazero/nexus/v3/wamp"
)

// origins finds out which of the events that arrive were published here, on a
// router that does not tell: by the publication id in PUBLISHED. A router may send
// the event first, so while a publish with an origin is not acknowledged, events of
// its topic are held back, and those behind them in the same subscription, until
// the acknowledgement is there or Options.HoldEvents is over.
type origins struct {
	s *Session

	mu     sync.Mutex
	closed bool
	number uint64                     // of the last claim
	claims map[string][]*claim        // by topic, oldest first; unsettled at the front
	known  map[wamp.ID]stamp          // publications that were acknowledged of late
	recent []publication              // the keys of known, oldest first
	held   map[*subscription]struct{} // those that hold events back
	timer  *time.Timer                // runs while held is not empty
}

// claim is a publish that is under way.
type claim struct {
	topic   string
	number  uint64
	stamp   stamp
	since   time.Time
	settled bool
}

type publication struct {
	id wamp.ID
	at time.Time
}

// heldEvent waits for all claims on its topic up to a number.
type heldEvent struct {
	arrival
	topic string
	until uint64
}

const (
	maxKnown = 1 << 17
	keepFor  = 10 * time.Second // how long after PUBLISHED its event may arrive
	maxHeld  = 1 << 16          // events per subscription
)

func newOrigins(s *Session) *origins {
	return &origins{
		s:      s,
		claims: map[string][]*claim{},
		known:  map[wamp.ID]stamp{},
		held:   map[*subscription]struct{}{},
	}
}

// claim announces a publish; it must be called before the publish is sent.
func (o *origins) claim(topic string, mark stamp) *claim {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.number++
	c := &claim{topic: topic, number: o.number, stamp: mark, since: time.Now()}
	o.claims[topic] = append(o.claims[topic], c)
	return c
}

// settle tells under which id the publish was made, 0 for not at all.
func (o *origins) settle(c *claim, id wamp.ID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.settled {
		return
	}
	c.settled = true
	now := time.Now()
	if id != 0 {
		o.known[id] = c.stamp
		o.recent = append(o.recent, publication{id, now})
	}
	old := 0
	for old < len(o.recent) && (len(o.recent)-old > maxKnown || now.Sub(o.recent[old].at) > keepFor) {
		delete(o.known, o.recent[old].id)
		old++
	}
	o.recent = o.recent[old:]
	o.prune(c.topic, now)
	o.release(now)
}

// prune takes the claims off the front that nobody needs to wait for.
func (o *origins) prune(topic string, now time.Time) {
	claims := o.claims[topic]
	for len(claims) > 0 && (claims[0].settled || now.Sub(claims[0].since) > o.s.o.HoldEvents) {
		claims = claims[1:]
	}
	if len(claims) == 0 {
		delete(o.claims, topic)
		return
	}
	o.claims[topic] = claims
}

// deliver puts the event into the subscription's queue, now or when its origin is
// known. Events of a subscription keep their order.
func (o *origins) deliver(b *subscription, a arrival) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.claims) == 0 && len(o.known) == 0 && len(b.held) == 0 || o.closed {
		b.put(a)
		return
	}
	e := heldEvent{arrival: a, topic: b.topic(a.msg), until: o.number}
	if len(b.held) == 0 && o.resolve(&e, a.time) {
		b.put(e.arrival)
		return
	}
	b.held = append(b.held, e)
	o.held[b] = struct{}{}
	if len(b.held) > maxHeld {
		o.releaseFrom(b, a.time)
	}
	if o.timer == nil {
		o.timer = time.AfterFunc(o.s.o.HoldEvents, o.expire)
	}
}

// resolve reports whether the event can go, and stamps it if it is one of ours.
func (o *origins) resolve(e *heldEvent, now time.Time) bool {
	if mark, ok := o.known[e.msg.Publication]; ok {
		e.stamp = mark
		return true
	}
	o.prune(e.topic, now)
	claims := o.claims[e.topic]
	if len(claims) == 0 || claims[0].number > e.until {
		return true
	}
	if now.Sub(e.time) >= o.s.o.HoldEvents {
		o.s.count.originUnknown.Add(1)
		return true
	}
	return false
}

// release lets go what can go, of all subscriptions.
func (o *origins) release(now time.Time) {
	for b := range o.held {
		o.releaseFrom(b, now)
	}
}

func (o *origins) releaseFrom(b *subscription, now time.Time) {
	n := 0
	for n < len(b.held) && (o.resolve(&b.held[n], now) || o.closed || len(b.held)-n > maxHeld) {
		b.put(b.held[n].arrival)
		n++
	}
	clear(b.held[:n])
	if b.held = b.held[n:]; len(b.held) == 0 {
		b.held = nil
		delete(o.held, b)
	}
}

// expire lets go what has waited for too long.
func (o *origins) expire() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.release(time.Now())
	o.timer = nil
	if len(o.held) > 0 && !o.closed {
		o.timer = time.AfterFunc(o.s.o.HoldEvents/4, o.expire)
	}
}

// close lets everything go: no acknowledgement will come any more.
func (o *origins) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.release(time.Now())
	if o.timer != nil {
		o.timer.Stop()
	}
}
