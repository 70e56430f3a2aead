package xmpp

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"mellium.im/xmpp/jid"

	"github.com/anybridge/anybridge/backends/xmpp/stream"
	"github.com/anybridge/anybridge/core"
)

// subscribe implements Backend.Subscribe.
func (r *running) subscribe(ctx context.Context, p core.Pattern) (core.Stream[*core.Event], error) {
	if p.Match != core.Exact && p.Match != "" {
		return nil, core.Errorf(core.Unimplemented, "XMPP has no %s subscriptions", p.Match)
	}
	t, err := parseTopic(p.Name)
	if err != nil {
		return nil, err
	}
	if err := r.client.Up(); err != nil {
		return nil, err
	}
	s := newSubscription(r, p, t)
	if !t.inbox && t.node == "" {
		isRoom, err := r.isRoom(ctx, t.entity)
		if err != nil {
			return nil, err
		}
		if isRoom {
			if err := r.subscribeRoom(ctx, s); err != nil {
				return nil, err
			}
			return s, nil
		}
	}
	r.mu.Lock()
	closed := r.closed
	if !closed {
		r.subs[t.key()] = append(r.subs[t.key()], s) // before the first event can come
	}
	r.mu.Unlock()
	if closed {
		return nil, core.Errorf(core.Unavailable, "the backend is closed")
	}
	if t.node != "" {
		if err := r.subscribeNode(ctx, t); err != nil {
			r.forget(s)
			return nil, err
		}
	}
	return s, nil
}

func (r *running) subscribeRoom(ctx context.Context, s *subscription) error {
	key := s.topic.key()
	r.mu.Lock()
	m := r.roomLocked(key)
	if m != nil {
		m.refs++
		s.room = m
		r.subs[key] = append(r.subs[key], s)
	}
	r.mu.Unlock()
	if m == nil {
		return r.noRoom()
	}
	if err := m.ready(ctx); err != nil {
		r.unsubscribe(s)
		return err
	}
	return nil
}

func (r *running) noRoom() error {
	return core.Errorf(core.Unavailable, "no room can be joined: %d are, or the backend is closed", maxRoomsAtOnce)
}

// forget takes a subscription out of the table, and reports whether it was there and the
// last one of its topic.
func (r *running) forget(s *subscription) (was, last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := s.topic.key()
	i := slices.Index(r.subs[key], s)
	if i < 0 {
		return false, false
	}
	rest := slices.Delete(slices.Clone(r.subs[key]), i, i+1)
	if s.room != nil {
		s.room.refs--
		s.room.poke()
	}
	if len(rest) == 0 {
		delete(r.subs, key)
		return true, true
	}
	r.subs[key] = rest
	return true, false
}

// unsubscribe ends a subscription. It does not wait for the server.
func (r *running) unsubscribe(s *subscription) {
	if was, last := r.forget(s); was && last && s.topic.node != "" {
		r.send(r.unsubscribeNode(s.topic))
	}
}

// isRoom reports whether the address is one of a room. Its service is asked once.
func (r *running) isRoom(ctx context.Context, j jid.JID) (bool, error) {
	domain := j.Domainpart()
	if j.Localpart() == "" || domain == r.client.JID().Domainpart() {
		return false, nil
	}
	r.mu.Lock()
	_, known := r.rooms[j.String()]
	answer, asked := r.services[domain]
	r.mu.Unlock()
	if known || asked {
		return known || answer, nil
	}
	info, err := r.ask(ctx, "get", j.Domain(), "ask "+domain+" whether it has rooms", stream.E(nsInfo, "query"))
	switch core.CodeOf(err) {
	case "":
		answer = hasRooms(info.Child(nsInfo, "query"))
	case core.Forbidden, core.Unimplemented: // it does not say: then it is not one of rooms
	default:
		return false, err
	}
	r.mu.Lock()
	if len(r.services) >= maxServices {
		clear(r.services)
	}
	r.services[domain] = answer
	r.mu.Unlock()
	return answer, nil
}

func hasRooms(info *stream.Element) bool {
	if info == nil {
		return false
	}
	for _, e := range info.Children {
		if e.Is(nsInfo, "identity") && e.Attr("category") == "conference" ||
			e.Is(nsInfo, "feature") && e.Attr("var") == nsMUC {
			return true
		}
	}
	return false
}

// deliver hands an event to the subscriptions of a topic, and reports whether there are
// any.
func (r *running) deliver(key string, e core.Event) bool {
	r.mu.Lock()
	subs := r.subs[key]
	r.mu.Unlock()
	for _, s := range subs {
		s.put(e)
	}
	return len(subs) > 0
}

// resubscribe subscribes to a node again, until it is done or another session has begun.
func (r *running) resubscribe(session int, s *subscription, since time.Time) {
	wait := time.Second
	for {
		err := r.subscribeNode(r.ctx, s.topic)
		if err == nil {
			if !since.IsZero() {
				s.gap(since, "reconnected: what was published meanwhile was not heard")
			}
			return
		}
		r.log.Warn("xmpp node not subscribed", slog.String("topic", s.address.Name), slog.Any("error", err))
		select {
		case <-time.After(wait):
		case <-r.ctx.Done():
			return
		}
		const most = time.Minute
		wait = min(2*wait, most)
		r.mu.Lock()
		over := r.session != session || !slices.Contains(r.subs[s.topic.key()], s)
		r.mu.Unlock()
		if over {
			return
		}
	}
}
