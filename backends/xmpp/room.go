package xmpp

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"mellium.im/xmpp/jid"

	"github.com/anybridge/anybridge/backends/xmpp/stream"
	"github.com/anybridge/anybridge/core"
)

// room is a room that is to be joined, or is. One goroutine (keep) sees to that. Its
// fields below jid are guarded by running.mu.
type room struct {
	r    *running
	jid  jid.JID
	wake chan struct{} // something that keep must know has changed

	configured bool
	refs       int // subscriptions
	used       time.Time
	nick       string // as we are known, or want to be, there
	joined     bool
	fresh      bool // the room did not exist before
	self       chan *stream.Element
	err        error
	failed     time.Time
	tried      chan struct{} // closed after each attempt
	lostAt     time.Time     // when we last were in it, if subscribers have to be told
	reason     string
	occupants  map[string]string // names, and their accounts where the room shows them
}

// roomLocked is the room of that address, which is made if need be. It is nil when there
// are too many. r.mu is held.
func (r *running) roomLocked(key string) *room {
	if m := r.rooms[key]; m != nil {
		return m
	}
	j, err := jid.Parse(key)
	if err != nil || len(r.rooms) >= maxRoomsAtOnce || r.closed {
		return nil
	}
	m := &room{
		r: r, jid: j, wake: make(chan struct{}, 1), used: time.Now(),
		tried: make(chan struct{}), occupants: map[string]string{},
	}
	r.rooms[key] = m
	r.work.Go(m.keep)
	return m
}

// keep joins the room and stays in it for as long as it is wanted.
func (m *room) keep() {
	ctx, pause := m.r.ctx, time.Second
	for m.wanted() {
		if m.r.client.Ready(ctx) != nil {
			break
		}
		err := m.join(ctx)
		m.attempted(err)
		if err == nil {
			pause = time.Second
			m.stay(ctx)
			m.r.mu.Lock()
			destroyed := m.reason == roomDestroyed && !m.joined
			m.r.mu.Unlock()
			if destroyed {
				moment(ctx) // while it ends it may take what comes, and not answer
			}
			continue
		}
		m.r.log.Warn("xmpp room not joined", slog.String("room", m.jid.String()), slog.Any("error", err))
		most := 5 * time.Minute
		if core.CodeOf(err) == core.Unavailable {
			most = 15 * time.Second
		}
		pause = min(pause, most)
		select {
		case <-time.After(pause/2 + rand.N(pause/2)): //nolint:gosec // it need not be secret
		case <-m.wake:
		case <-ctx.Done():
		}
		pause *= 2
	}
	m.r.mu.Lock()
	joined, nick := m.joined, m.nick
	m.r.mu.Unlock()
	if joined {
		m.r.send(m.presence(nick).Set("type", "unavailable"))
	}
}

// wanted reports whether anybody needs the room; if not, it is forgotten.
func (m *room) wanted() bool {
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	if m.r.ctx.Err() == nil && (m.configured || m.refs > 0 || time.Since(m.used) < idleRoom) {
		return true
	}
	delete(m.r.rooms, m.jid.String())
	return false
}

func (m *room) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// attempted notes how an attempt to join ended, and tells those who wait.
func (m *room) attempted(err error) {
	r := m.r
	r.mu.Lock()
	defer r.mu.Unlock()
	m.err, m.failed = err, time.Now()
	if err == nil && !m.lostAt.IsZero() {
		for _, s := range r.subs[m.jid.String()] {
			s.gap(m.lostAt, m.reason)
		}
		m.lostAt = time.Time{}
	}
	close(m.tried)
	m.tried = make(chan struct{})
}

// ready waits until the room is joined, or an attempt has failed.
func (m *room) ready(ctx context.Context) error {
	const recent = 5 * time.Second
	r := m.r
	r.mu.Lock()
	m.used = time.Now()
	joined, tried, err := m.joined, m.tried, m.err
	if err != nil && time.Since(m.failed) > recent {
		err = nil
		m.poke()
	}
	r.mu.Unlock()
	if joined || err != nil {
		return err
	}
	select {
	case <-tried:
	case <-r.client.Ended():
		return core.Errorf(core.Unavailable, "join %s: the connection was lost", m.jid)
	case <-ctx.Done():
		return ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return m.err
}

// join enters the room, under another name if ours is taken.
func (m *room) join(ctx context.Context) error {
	r := m.r
	r.mu.Lock()
	c := r.config.rooms[m.jid.String()]
	nick := r.config.Nick
	create := orTrue(r.config.CreateRooms)
	r.mu.Unlock()
	if c.Nick != "" {
		nick = c.Nick
	}
	name, taken := nick, 0
	for attempt := range attemptsToJoin {
		answer, err := m.enter(ctx, name, string(c.Password))
		if err != nil {
			return err
		}
		if answer.Attr("type") == "error" {
			again := attempt < attemptsToJoin-1
			switch condition, _ := condition(answer); {
			case condition == "conflict" && again:
				taken++
				name = fmt.Sprintf("%s%d", nick, taken+1)
				if taken == attemptsToJoin-2 {
					name = fmt.Sprintf("%s-%04x", nick, rand.N(1<<16)) //nolint:gosec // it need not be secret
				}
				continue
			case condition == "item-not-found" && again && moment(ctx): // somebody is just creating it
				continue
			}
			return stanzaError(answer, "join "+m.jid.String())
		}
		r.mu.Lock()
		fresh := m.fresh
		r.mu.Unlock()
		if !fresh {
			return nil
		}
		if !create {
			m.out("created by mistake")
			r.send(m.presence(name).Set("type", "unavailable"))
			return core.Errorf(core.NotFound, "join %s: there is no such room, and create_rooms is off", m.jid)
		}
		form := stream.E(nsForm, "x").Set("type", "submit")
		_, err = r.ask(ctx, "set", m.jid, "create "+m.jid.String(), stream.E(nsMUCOwner, "query", form))
		return err
	}
	return core.Errorf(core.Unavailable, "join %s: it does not settle", m.jid) // not reached
}

// moment waits a little, unless ctx ends.
func moment(ctx context.Context) bool {
	const little = 200 * time.Millisecond
	select {
	case <-time.After(little):
		return true
	case <-ctx.Done():
		return false
	}
}

func (m *room) presence(nick string) *stream.Element {
	j, err := m.jid.WithResource(nick)
	if err != nil {
		j = m.jid
	}
	return stream.E(nsClient, "presence").Set("to", j.String())
}

// enter sends our presence and waits for what the room says to it.
func (m *room) enter(ctx context.Context, nick, password string) (*stream.Element, error) {
	r := m.r
	answers := make(chan *stream.Element, 1)
	to := m.presence(nick).Attr("to")
	j, err := jid.Parse(to)
	if err != nil || j.Resourcepart() == "" {
		return nil, core.Errorf(core.InvalidArgument, "join %s: %q cannot be a name in a room", m.jid, nick)
	}
	r.mu.Lock()
	m.nick, m.self, m.fresh = j.Resourcepart(), answers, false
	clear(m.occupants)
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		m.self = nil
		r.mu.Unlock()
	}()
	x := stream.E(nsMUC, "x", stream.E("", "history").Set("maxstanzas", "0").Set("maxchars", "0"))
	if password != "" {
		x.Add(stream.T("", "password", password))
	}
	ended := r.client.Ended()
	// Joining twice is joining once, and a room that was just ending has not heard of it.
	const times = 6
	for range times {
		if _, err := r.client.Send(m.presence(nick).Add(x), false); err != nil {
			return nil, err
		}
		select {
		case answer := <-answers:
			return answer, nil
		case <-time.After(answerPatience / times):
		case <-ended:
			return nil, core.Errorf(core.Unavailable, "join %s: the connection was lost", m.jid)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, core.Errorf(core.Unavailable, "join %s: the room does not answer", m.jid)
}

// stay returns when we are out of the room, or nobody needs it any more. Now and then it
// asks whether we still are in (XEP-0410): rooms lose people without telling them.
func (m *room) stay(ctx context.Context) {
	r := m.r
	every := r.cfg().RoomPing
	ping := time.NewTicker(every)
	defer ping.Stop()
	heard := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-ping.C:
			began := time.Now()
			switch m.ping(ctx) {
			case pingIn:
				heard = began
			case pingOut:
				r.client.Count("rooms_lost_silently", 1)
				r.mu.Lock()
				m.outLocked("the room had lost us without a word", heard)
				r.mu.Unlock()
			case pingUnknown:
			}
		}
		r.mu.Lock()
		idle := !m.configured && m.refs == 0 && time.Since(m.used) >= idleRoom
		joined := m.joined
		r.mu.Unlock()
		if !joined || idle {
			return
		}
	}
}

type pingResult int

const (
	pingUnknown pingResult = iota
	pingIn
	pingOut
)

func (m *room) ping(ctx context.Context) pingResult {
	m.r.mu.Lock()
	me, err := m.jid.WithResource(m.nick)
	m.r.mu.Unlock()
	if err != nil {
		return pingUnknown
	}
	answer, err := m.r.ask(ctx, "get", me, "ping", stream.E(nsPing, "ping"))
	if err == nil {
		return pingIn
	}
	if answer == nil {
		return pingUnknown
	}
	switch name, _ := condition(answer); name {
	case "service-unavailable", "feature-not-implemented", "item-not-found":
		return pingIn // the ping came back to us, who do not answer it, or to another of our names
	case "remote-server-not-found", "remote-server-timeout":
		return pingUnknown
	}
	return pingOut
}

// out notes that we are no longer in the room.
func (m *room) out(reason string) {
	m.r.mu.Lock()
	m.outLocked(reason, time.Now())
	m.r.mu.Unlock()
}

func (m *room) outLocked(reason string, since time.Time) {
	if m.joined {
		m.joined, m.lostAt, m.reason = false, since, reason
		m.poke()
	}
}
