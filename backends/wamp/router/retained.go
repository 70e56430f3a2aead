package router

import (
	"container/list"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/anybridge/anybridge/core"
	"github.com/gammazero/nexus/v3/wamp"
)

// retainedEvent is the event that a topic keeps for later subscribers (WAMP
// specification, "Event Retention"). It is immutable.
type retainedEvent struct {
	topic       wamp.URI
	publication wamp.ID
	payload     *wire.Payload // nil for an event without any
	publisher   wamp.ID
	excludeMe   bool
	audience    *audience
	disclosed   wamp.Dict // who published it, if they disclosed that
	size        int
}

// retained is a realm's store of retained events, one for each topic. It is bounded
// by number and by bytes; the ones published the longest ago go first.
type retained struct {
	evicted *atomic.Int64

	mu     sync.Mutex
	topics map[wamp.URI]*list.Element
	order  *list.List // of *retainedEvent, oldest first
	bytes  int
}

// put makes e the topic's event.
func (r *retained) put(e *retainedEvent, maxEvents, maxBytes int) {
	e.size = messageOverhead + len(e.topic)
	if e.payload != nil {
		e.size += e.payload.Size()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.order == nil {
		r.order, r.topics = list.New(), map[wamp.URI]*list.Element{}
	}
	if old, ok := r.topics[e.topic]; ok {
		r.remove(old)
	}
	if e.size > maxBytes {
		r.evicted.Add(1)
		return
	}
	r.topics[e.topic] = r.order.PushBack(e)
	r.bytes += e.size
	for r.order.Len() > maxEvents || r.bytes > maxBytes {
		r.remove(r.order.Front())
		r.evicted.Add(1)
	}
}

func (r *retained) remove(at *list.Element) {
	e, _ := r.order.Remove(at).(*retainedEvent)
	delete(r.topics, e.topic)
	r.bytes -= e.size
}

func (r *retained) size() (events, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.topics), r.bytes
}

// matching returns the events that a pattern covers, in the order in which they were
// published.
func (r *retained) matching(p core.Pattern) []*retainedEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.order == nil {
		return nil
	}
	if p.Match != core.Prefix && p.Match != core.Wildcard {
		if at, ok := r.topics[wamp.URI(p.Name)]; ok {
			e, _ := at.Value.(*retainedEvent)
			return []*retainedEvent{e}
		}
		return nil
	}
	var out []*retainedEvent
	for at := r.order.Front(); at != nil; at = at.Next() {
		if e, ok := at.Value.(*retainedEvent); ok && p.Matches(address(e.topic)) {
			out = append(out, e)
		}
	}
	return out
}

// syncRequest is a request of which the session awaits the answer itself, while it
// holds its realm's retainMu. Nothing is published with retain, and nobody
// subscribes with get_retained, between the request and what is done with its
// answer: so the store is as the broker saw it. It is guarded by the mailbox's mu.
type syncRequest struct {
	request     wamp.ID // 0 for none
	typ         wamp.MessageType
	quiet       bool // the client did not ask for the answer
	pattern     core.Pattern
	answered    bool
	publication wamp.ID
}

// is reports whether an answer belongs to the request.
func (q *syncRequest) is(typ wamp.MessageType, request wamp.ID) bool {
	return q.request == request && q.typ == typ && !q.answered && request != 0
}

// ask hands a request to nexus and waits for the answer. It returns false if the
// session ended before.
func (s *session) ask(q syncRequest, m wamp.Message) (syncRequest, bool) {
	s.box.mu.Lock()
	s.sync = q
	s.box.mu.Unlock()
	ok := s.forward(m) && s.box.await(s.done, func() bool { return s.sync.answered })
	s.box.mu.Lock()
	q, s.sync = s.sync, syncRequest{}
	s.box.mu.Unlock()
	return q, ok
}

// publishRetained publishes an event, and stores it if the broker accepted it.
func (s *session) publishRetained(m *wamp.Publish) bool {
	s.realm.retainMu.Lock()
	defer s.realm.retainMu.Unlock()
	quiet := !flag(m.Options, wamp.OptAcknowledge)
	m.Options[wamp.OptAcknowledge] = true
	q, ok := s.ask(syncRequest{request: m.Request, typ: wamp.PUBLISH, quiet: quiet}, m)
	if !ok {
		return false
	}
	if q.publication == 0 {
		return true // refused
	}
	excludeMe, given := m.Options[wamp.OptExcludeMe].(bool)
	e := &retainedEvent{
		topic: m.Topic, publication: q.publication, payload: s.ownPayload(wire.PayloadOf(m)),
		publisher: wamp.ID(s.sid.Load()), excludeMe: excludeMe || !given, audience: audienceOf(m.Options),
	}
	if who := s.who.Load(); who != nil && flag(m.Options, wamp.OptDiscloseMe) {
		e.disclosed = wamp.Dict{"publisher": e.publisher, "publisher_authid": s.authid(), "publisher_authrole": who.role}
	}
	limits := s.router.settings.Load().limits
	s.realm.retained.put(e, limits.RetainedEvents, limits.RetainedBytes)
	return true
}

// ownPayload copies a payload, so that the store holds the bytes it counts and
// neither a frame they came in nor the frames made of them.
func (s *session) ownPayload(p *wire.Payload) *wire.Payload {
	if p == nil {
		return nil
	}
	ser := wire.JSON
	if s.link != nil {
		ser = s.link.serialization()
	}
	args, err := p.Args(ser)
	if err != nil {
		return p
	}
	kwargs, err := p.Kwargs(ser)
	if err != nil {
		return p
	}
	return wire.NewPayload(ser, slices.Clone(args), slices.Clone(kwargs))
}

// subscribeRetained subscribes; the retained events follow SUBSCRIBED at once, see
// deliverRetained.
func (s *session) subscribeRetained(m *wamp.Subscribe) bool {
	s.realm.retainMu.Lock()
	defer s.realm.retainMu.Unlock()
	_, ok := s.ask(syncRequest{request: m.Request, typ: wamp.SUBSCRIBE, pattern: patternOf(m.Topic, m.Options)}, m)
	return ok
}

// deliverRetained queues the retained events for a new subscription. Their payloads
// do not count, since the store holds them anyway. The mailbox's mu is held.
func (s *session) deliverRetained(sub wamp.ID, p core.Pattern) {
	who, sid := s.who.Load(), wamp.ID(s.sid.Load())
	if who == nil {
		return
	}
	for _, e := range s.realm.retained.matching(p) {
		if e.excludeMe && e.publisher == sid || !e.audience.admits(sid, s.authid(), who.role) {
			continue
		}
		details := wamp.Dict{"retained": true}
		if p.Match == core.Prefix || p.Match == core.Wildcard {
			details["topic"] = e.topic
		}
		if s.client.identifiesPublisher {
			for k, v := range e.disclosed {
				details[k] = v
			}
		}
		it := item{payload: e.payload, sub: sub, pub: e.publication, details: details, retain: true, size: messageOverhead}
		if e.payload == nil || s.link == nil {
			it.msg, it.payload = it.event(), nil
		}
		s.box.add(it)
	}
}
