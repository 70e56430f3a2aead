package router

import (
	"log/slog"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// outgoing takes what nexus sends to the client, in order: it takes note of answers,
// puts right what nexus gets wrong, and queues the rest. It runs with the mailbox's
// mu held, at times in goroutines of nexus, and does not block.
func (s *session) outgoing(msg wamp.Message) {
	switch m := msg.(type) {
	case *wamp.Event:
		s.queueEvent(m)
		return
	case *wamp.Result:
		if !s.keepResult(m) {
			return
		}
	case *wamp.Error:
		if !s.keepError(m) {
			return
		}
	case *wamp.Invocation:
		s.trimInvocation(m)
		nameSender(m)
	case *wamp.Interrupt:
		if s.client.swallowsInterrupt {
			// In mode kill the dealer waits for the callee's answer before it answers
			// the caller.
			if m.Options[wamp.OptMode] == wamp.CancelModeKill {
				s.inject(invocationError(m.Request, wamp.ErrCanceled, ""))
			}
			return
		}
	case *wamp.Welcome:
		s.begin(m)
		if s.link == nil {
			return
		}
	case *wamp.Published:
		if s.sync.is(wamp.PUBLISH, m.Request) {
			s.sync.answered, s.sync.publication = true, m.Publication
			if s.sync.quiet {
				return
			}
		}
	case *wamp.Subscribed:
		s.subs.granted(m.Request, m.Subscription)
		if s.sync.is(wamp.SUBSCRIBE, m.Request) {
			s.sync.answered = true
			s.queue(m)
			s.deliverRetained(m.Subscription, s.sync.pattern)
			s.checkOverflow()
			return
		}
	case *wamp.Registered:
		s.regs.granted(m.Request, m.Registration)
	case *wamp.Unsubscribed:
		s.subs.undone(m.Request)
	case *wamp.Unregistered:
		s.regs.undone(m.Request)
	}
	s.queue(msg)
}

func (s *session) queue(msg wamp.Message) {
	s.box.add(item{msg: msg, size: int32(min(sizeOf(msg), 1<<30))})
	s.checkOverflow()
}

// queueEvent keeps an event in its compact form, without the message and the copies
// that nexus made for this subscriber.
func (s *session) queueEvent(m *wamp.Event) {
	if len(m.Details) > 0 && !s.client.identifiesPublisher {
		// nexus adds them for one subscriber and leaves them there for the next.
		delete(m.Details, "publisher")
		delete(m.Details, "publisher_authid")
		delete(m.Details, "publisher_authrole")
	}
	p := wire.PayloadOf(m)
	if p == nil || s.link == nil {
		s.queue(m)
		return
	}
	it := item{payload: p, sub: m.Subscription, pub: m.Publication, size: int32(messageOverhead + p.Size())}
	if len(m.Details) > 0 {
		it.details, it.variant = m.Details, variantOf(m.Details)
	}
	s.box.add(it)
	s.checkOverflow()
}

// keepResult takes note of an answer to a call; false means that the client has been
// answered already, or does not want this.
func (s *session) keepResult(m *wamp.Result) bool {
	if !flag(m.Details, wamp.OptProgress) {
		return s.calls.end(m.Request)
	}
	entry := s.calls.open[m.Request]
	return entry != nil && entry.progress
}

// keepError takes note of a request that failed; false means that the client is not
// to see it.
func (s *session) keepError(m *wamp.Error) bool {
	switch m.Type {
	case wamp.CALL:
		if m.Error == wamp.ErrFeatureNotSupported {
			s.calls.leaked++
		}
		if !s.calls.end(m.Request) {
			return false
		}
		if m.Error == wamp.ErrCanceled {
			s.router.counters.callsCanceled.Add(1)
		}
	case wamp.SUBSCRIBE:
		s.subs.refused(m.Request)
		if s.sync.is(wamp.SUBSCRIBE, m.Request) {
			s.sync.answered = true
		}
	case wamp.REGISTER:
		s.regs.refused(m.Request)
	case wamp.UNSUBSCRIBE:
		s.subs.undone(m.Request)
	case wamp.UNREGISTER:
		s.regs.undone(m.Request)
	case wamp.PUBLISH:
		if s.sync.is(wamp.PUBLISH, m.Request) {
			s.sync.answered = true
			return !s.sync.quiet
		}
	}
	return true
}

// trimInvocation removes the timeout from callees that did not ask for it, and a
// progress that is false.
func (s *session) trimInvocation(m *wamp.Invocation) {
	if m.Details[wamp.OptProgress] == false {
		delete(m.Details, wamp.OptProgress)
	}
	if _, has := m.Details[wamp.OptTimeout]; has && (!s.client.takesTimeout || !s.regs.made[m.Registration].forward) {
		delete(m.Details, wamp.OptTimeout)
	}
}

// nameSender tells the callee, if it is told who calls at all, which token called
// through the bridge's session: as if the token's app had joined the realm itself.
func nameSender(m *wamp.Invocation) {
	p := wire.PayloadOf(m)
	if p == nil || p.Sender() == nil {
		return
	}
	if _, disclosed := m.Details["caller"]; !disclosed {
		return
	}
	m.Details["caller_authid"], m.Details["caller_authrole"] = p.Sender().Token, tokenRole
	if user := p.Sender().User; user != "" {
		m.Details["caller_user"] = user
	}
}

// begin opens the session: nexus has accepted it.
func (s *session) begin(m *wamp.Welcome) {
	sanitiseWelcome(m)
	if s.link == nil {
		s.welcome = m
	}
	s.sid.Store(uint64(m.ID))
	s.router.counters.sessionsOpened.Add(1)
	s.router.log.Debug("session opened", s.attrs(slog.String("method", s.offer.method))...)
}

// sizeOf estimates what a message takes.
func sizeOf(msg wamp.Message) int {
	if p := wire.PayloadOf(msg); p != nil {
		return messageOverhead + p.Size()
	}
	n := messageOverhead
	switch m := msg.(type) {
	case *wamp.Event:
		n += valueSize(m.Arguments, 0) + valueSize(m.ArgumentsKw, 0)
	case *wamp.Result:
		n += valueSize(m.Arguments, 0) + valueSize(m.ArgumentsKw, 0)
	case *wamp.Error:
		n += valueSize(m.Arguments, 0) + valueSize(m.ArgumentsKw, 0)
	}
	return n
}

func valueSize(v any, depth int) int {
	const word, deep = 16, 8
	n := word
	if depth > deep {
		return n
	}
	switch v := v.(type) {
	case string:
		n += len(v)
	case []byte:
		n += len(v)
	case wamp.List:
		for _, e := range v {
			n += valueSize(e, depth+1)
		}
	case wamp.Dict:
		for k, e := range v {
			n += len(k) + valueSize(e, depth+1)
		}
	case []wamp.ID:
		n += word * len(v)
	}
	return n
}
