package router

import (
	"fmt"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/anybridge/anybridge/core"
	"github.com/gammazero/nexus/v3/wamp"
)

// errTooMany is the error of a request beyond one of a session's limits.
const errTooMany = wamp.URI("anybridge.error.too_many_requests")

// admit judges a sanitised message by what the session may do and has done, and
// takes note of what is forwarded.
func (s *session) admit(msg wamp.Message) verdict {
	switch m := msg.(type) {
	case *wamp.Publish:
		return s.admitPublish(m)
	case *wamp.Subscribe:
		return s.admitSubscribe(m)
	case *wamp.Register:
		return s.admitRegister(m)
	case *wamp.Unsubscribe:
		if !s.holdingsDo(func() bool { return s.subs.undo(m.Request, m.Subscription) }) {
			return refuse(m, m.Request, wamp.ErrNoSuchSubscription, "")
		}
	case *wamp.Unregister:
		if !s.holdingsDo(func() bool { return s.regs.undo(m.Request, m.Registration) }) {
			return refuse(m, m.Request, wamp.ErrNoSuchRegistration, "")
		}
	case *wamp.Call:
		return s.admitCall(m)
	case *wamp.Cancel:
		return s.admitCancel(m)
	}
	return verdict{message: msg}
}

// holdingsDo runs do under the mailbox's lock, after everything that nexus has sent
// was taken note of.
func (s *session) holdingsDo(do func() bool) bool {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	s.box.drain()
	return do()
}

func (s *session) denied(m wamp.Message, request wamp.ID, verb core.Verb, name wamp.URI) verdict {
	return refuse(m, request, wamp.ErrNotAuthorized, fmt.Sprintf("not allowed to %s %.100s", verb, name))
}

func (s *session) trusted() bool { return s.link == nil }

func (s *session) admitPublish(m *wamp.Publish) verdict {
	exact := core.Pattern{Address: address(m.Topic), Match: core.Exact}
	var v verdict
	switch {
	case reserved(m.Topic) && !s.trusted():
		v = refuse(m, m.Request, wamp.ErrInvalidURI, "topics that begin with wamp. are the router's own")
	case !s.may(core.VerbPublish, exact):
		v = s.denied(m, m.Request, core.VerbPublish, m.Topic)
	default:
		if len(m.Arguments) == 0 && len(m.ArgumentsKw) == 0 {
			// So that an event without arguments, too, is encoded once for everybody.
			m.Arguments = wire.Opaque(wire.NewPayload(wire.JSON, nil, nil))
		}
		return verdict{message: m}
	}
	if !flag(m.Options, wamp.OptAcknowledge) {
		v.action = ignore
	}
	return v
}

func (s *session) admitSubscribe(m *wamp.Subscribe) verdict {
	p := patternOf(m.Topic, m.Options)
	if !s.may(core.VerbSubscribe, p) {
		return s.denied(m, m.Request, core.VerbSubscribe, m.Topic)
	}
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	if s.subs.size() >= s.limits.MaxHeld && !s.trusted() {
		return refuse(m, m.Request, errTooMany, "too many subscriptions in this session")
	}
	s.subs.ask(m.Request, held{pattern: p})
	return verdict{message: m}
}

func (s *session) admitRegister(m *wamp.Register) verdict {
	p := patternOf(m.Procedure, m.Options)
	if !s.may(core.VerbRegister, p) {
		return s.denied(m, m.Request, core.VerbRegister, m.Procedure)
	}
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	s.box.drain()
	switch {
	case s.regs.has(p):
		// nexus would enter the session twice, and remove it once when it leaves:
		// calls would go to a session that is gone.
		return refuse(m, m.Request, wamp.ErrProcedureAlreadyExists, "this session has registered it already")
	case s.regs.size() >= s.limits.MaxHeld && !s.trusted():
		return refuse(m, m.Request, errTooMany, "too many registrations in this session")
	}
	s.regs.ask(m.Request, held{pattern: p, forward: flag(m.Options, wamp.OptForwardTimeout)})
	m.Options[wamp.OptForwardTimeout] = true // see call
	return verdict{message: m}
}

func (s *session) admitCall(m *wamp.Call) verdict {
	if !s.may(core.VerbCall, core.Pattern{Address: address(m.Procedure), Match: core.Exact}) {
		return s.denied(m, m.Request, core.VerbCall, m.Procedure)
	}
	timeout := timeoutOf(m.Options)
	if reserved(m.Procedure) {
		delete(m.Options, wamp.OptTimeout)
		if bad := s.openPayload(m); bad != "" {
			return refuse(m, m.Request, wamp.ErrInvalidArgument, bad)
		}
	} else if timeout > 0 {
		m.Options[wamp.OptTimeout] = timeout.Milliseconds()
	}

	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	s.box.drain()
	if old := s.calls.open[m.Request]; old != nil {
		if !old.progressive || old.procedure != m.Procedure {
			return verdict{action: abort, why: "CALL with the request id of a call in flight"}
		}
		old.progressive = flag(m.Options, wamp.OptProgress)
		return verdict{message: m}
	}
	switch {
	case s.trusted():
	case s.calls.leaked > maxLeaked:
		return verdict{action: abort, why: "too many progressive calls to callees that do not support them"}
	case len(s.calls.open) >= s.limits.CallsInFlight:
		return refuse(m, m.Request, errTooMany, "too many calls in flight in this session")
	}
	id := m.Request
	s.calls.begin(m, timeout, func() { s.expire(id) })
	return verdict{message: m}
}

// expire answers a call whose timeout has passed, and cancels it at the callee
// (WAMP specification, "Call Timeouts": the mode is killnowait).
func (s *session) expire(id wamp.ID) {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	s.box.drain()
	if s.box.ended || !s.calls.end(id) {
		return
	}
	s.router.counters.callsCanceled.Add(1)
	s.box.add(item{msg: requestError(wamp.CALL, id, wamp.ErrTimeout, "call timeout"), size: messageOverhead})
	s.box.nudge()
	s.checkOverflow()
	s.inject(&wamp.Cancel{Request: id, Options: wamp.Dict{wamp.OptMode: wamp.CancelModeKillNoWait}})
}

func (s *session) admitCancel(m *wamp.Cancel) verdict {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	s.box.drain()
	if s.calls.open[m.Request] == nil {
		return verdict{action: ignore, why: "no such call in flight"}
	}
	return verdict{message: m}
}

// openPayload replaces the opaque payload of a call to a meta procedure by its
// values, which nexus reads, and checks those that it would trip over.
func (s *session) openPayload(m *wamp.Call) (bad string) {
	if p := wire.PayloadOf(m); p != nil {
		args, kwargs, err := p.Values()
		if err != nil {
			return "arguments: " + err.Error()
		}
		m.Arguments, m.ArgumentsKw = args, kwargs
	}
	if m.Procedure != wamp.MetaProcSessionAddTestament {
		return ""
	}
	// A testament is published by nexus itself, in nobody's name: it may hold nothing
	// that this session could not publish.
	if len(m.Arguments) < 3 {
		return "want a topic, args and kwargs"
	}
	topic, ok := m.Arguments[0].(string)
	options, isDict := m.ArgumentsKw["publish_options"].(wamp.Dict)
	if !isDict && m.ArgumentsKw["publish_options"] != nil {
		return "publish_options: want a dictionary"
	}
	wrong, passthru := checkOptions(options, publishOption)
	switch {
	case !ok || !validURI(wamp.URI(topic), core.Exact) || reserved(wamp.URI(topic)):
		return "not a valid topic"
	case wrong != "":
		return "publish_options: " + wrong
	case passthru:
		return "publish_options: payload passthru is not offered"
	case !s.may(core.VerbPublish, core.Pattern{Address: address(wamp.URI(topic)), Match: core.Exact}):
		return "not allowed to publish to the topic"
	}
	return ""
}

// submit hands an admitted message to nexus. It returns false if the session is
// over.
func (s *session) submit(msg wamp.Message) bool {
	switch m := msg.(type) {
	case *wamp.Publish:
		s.realm.pressure.wait(s.done, nil)
		if flag(m.Options, optRetain) {
			return s.publishRetained(m)
		}
	case *wamp.Subscribe:
		if flag(m.Options, optGetRetained) {
			return s.subscribeRetained(m)
		}
	}
	return s.forward(msg)
}
