package router

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/anybridge/anybridge/core"
	"github.com/gammazero/nexus/v3/wamp"
)

const (
	// What may wait for a Local before it is taken for stuck: the bridge takes
	// everything at once, so this is for its pauses only.
	localQueueMessages = 1 << 18
	localQueueBytes    = 256 << 20
)

// Local is a trusted session inside this process, for the bridge itself: it has
// every right, the authrole "trusted" and the authid "anybridge". Its methods may be
// called concurrently, except that only one goroutine calls Receive.
type Local struct{ s *session }

// Attach joins a realm. details are those of a HELLO; without "roles" the session
// has every role with every feature that the router knows.
func (r *Router) Attach(realm string, details wamp.Dict) (*Local, error) {
	limits := r.settings.Load().limits
	limits.QueueMessages, limits.QueueBytes = localQueueMessages, localQueueBytes
	s := r.newSession(nil, limits)
	close(s.written)
	if details["roles"] == nil {
		details = wamp.Dict{"roles": allRoles(), "agent": details["agent"]}
	}
	hello := &wamp.Hello{Realm: wamp.URI(realm), Details: details}
	var err error
	if s.client, err = sanitiseHello(hello); err != nil {
		return nil, core.Errorf(core.InvalidArgument, "attach to realm %q: %w", realm, err)
	}
	s.offer, s.local = offer{method: methodLocal, authid: trustedName}, true
	s.client.details["authmethods"] = wamp.List{methodLocal}
	hello.Details = s.client.details

	r.mu.Lock()
	s.realm = r.realms[hello.Realm]
	ok := s.realm != nil && !r.closing && s.realm.enter(s)
	if ok {
		r.tasks.Go(func() {
			<-s.released
			s.realm.leave(s)
		})
	}
	r.mu.Unlock()
	if !ok {
		return nil, core.Errorf(core.NotFound, "attach: there is no realm %q", realm)
	}
	attached := make(chan struct{})
	r.tasks.Go(func() {
		defer close(attached)
		s.attach(wamp.Dict{"type": "local"})
	})
	s.forward(hello)
	<-attached
	if !s.box.await(s.done, func() bool { return s.welcome != nil }) {
		s.fail(causeLost, "refused")
		return nil, core.Errorf(core.Unavailable, "attach to realm %q: refused", realm)
	}
	return &Local{s}, nil
}

// allRoles announces every role and feature that a client can have here.
func allRoles() wamp.Dict {
	features := func(names ...string) wamp.Dict {
		d := wamp.Dict{}
		for _, n := range names {
			d[n] = true
		}
		return wamp.Dict{"features": d}
	}
	return wamp.Dict{
		wamp.RolePublisher:  features(wamp.FeaturePubIdent, wamp.FeaturePubExclusion, wamp.FeatureSubBlackWhiteListing),
		wamp.RoleSubscriber: features(wamp.FeaturePubIdent, wamp.FeaturePatternSub),
		wamp.RoleCaller: features(wamp.FeatureCallerIdent, wamp.FeatureCallTimeout, wamp.FeatureCallCanceling,
			wamp.FeatureProgCallResults, wamp.FeatureProgCallInvocations),
		wamp.RoleCallee: features(wamp.FeatureCallerIdent, wamp.FeatureCallTimeout, wamp.FeatureCallCanceling,
			wamp.FeatureProgCallResults, wamp.FeatureProgCallInvocations, wamp.FeaturePatternBasedReg, wamp.FeatureSharedReg),
	}
}

// Welcome is the WELCOME of the session. It must not be changed.
func (l *Local) Welcome() *wamp.Welcome {
	l.s.box.mu.Lock()
	defer l.s.box.mu.Unlock()
	return l.s.welcome
}

// Send hands a message to the router, which owns it from then on, its maps and lists
// included. It waits only while the realm's subscribers cannot keep up with a burst
// of events (at most a second for each), and for the broker's answer to a PUBLISH
// with retain or a SUBSCRIBE with get_retained. A request that is refused is answered
// by an ERROR through Receive; an error of Send means that the message was not taken:
// io.ErrClosedPipe after the session's end.
func (l *Local) Send(ctx context.Context, m wamp.Message) error {
	s := l.s
	v := s.decide(m)
	switch v.action {
	case forward:
	case answer:
		s.respond(v.message)
		return nil
	case ignore:
		s.router.counters.ignored.Add(1)
		return nil
	case leave:
		return l.Close()
	default:
		return core.Errorf(core.InvalidArgument, "send %v: %s", m.MessageType(), v.why)
	}
	if p, ok := v.message.(*wamp.Publish); ok {
		s.realm.pressure.wait(s.done, ctx.Done())
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := closePayload(p); err != nil {
			return err
		}
	}
	if !s.submit(v.message) {
		return io.ErrClosedPipe
	}
	return nil
}

// closePayload makes the plain values of an event opaque, so that it is encoded once
// for all its subscribers.
func closePayload(m *wamp.Publish) error {
	if len(m.Arguments) == 0 && len(m.ArgumentsKw) == 0 || wire.PayloadOf(m) != nil {
		return nil
	}
	plain := &wamp.Publish{Request: 1, Topic: "a", Arguments: m.Arguments, ArgumentsKw: m.ArgumentsKw}
	b, err := wire.Append(nil, wire.CBOR, plain)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	msg, err := wire.Decode(wire.CBOR, b, wire.Limits{})
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	m.Arguments, m.ArgumentsKw = wire.Opaque(wire.PayloadOf(msg)), nil
	return nil
}

// Receive waits for messages and returns all there are. They belong to the caller,
// but not what they share with other subscribers: payloads. After the end it returns
// io.EOF.
func (l *Local) Receive(ctx context.Context) ([]wamp.Message, error) {
	for {
		batch := l.s.box.take(ctx.Done())
		if batch == nil {
			if err := ctx.Err(); err != nil && !l.s.over() {
				return nil, err
			}
			return nil, io.EOF
		}
		out := make([]wamp.Message, 0, len(batch))
		bytes := 0
		for i := range batch {
			bytes += int(batch[i].size)
			if _, isControl := batch[i].msg.(control); !isControl {
				out = append(out, batch[i].msg)
			}
		}
		l.s.box.wrote(len(batch), bytes)
		l.s.box.recycle(batch)
		if len(out) > 0 {
			return out, nil
		}
	}
}

// over reports whether the session has ended.
func (s *session) over() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// Close leaves the realm and returns when the router has removed the session.
// Messages that were not received are dropped.
func (l *Local) Close() error {
	l.s.fail(causeLost, "closed")
	<-l.s.released
	return nil
}

// Err tells why the session ended: nil while it goes on, or if Close or the router
// ended it in order.
func (l *Local) Err() error {
	if cause(l.s.cause.Load()) == causeSlow {
		return errors.New("session disconnected: its queue was full")
	}
	return nil
}
