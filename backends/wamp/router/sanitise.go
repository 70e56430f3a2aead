package router

import (
	"fmt"

	"github.com/anybridge/anybridge/core"
	"github.com/gammazero/nexus/v3/wamp"
)

// action is what becomes of a message that a client sent.
type action uint8

const (
	forward action = iota // hand it, or verdict.message instead, to nexus
	answer                // do not; send verdict.message back
	ignore                // do not; it is counted
	abort                 // the client broke the protocol: end its session, saying why
	leave                 // the client ends its session
)

// verdict is an action with what it needs.
type verdict struct {
	action  action
	message wamp.Message
	why     string
}

// announced are the features of a client that decide what it may send.
type announced struct {
	progressiveInvocations bool // caller: progressive_call_invocations
}

// sanitise judges what can be judged about one message of an open session by
// itself. It normalises options in place: null ones are deleted, and match and
// invoke are always there. What is forwarded cannot make nexus panic, and means to
// nexus what it meant to the client.
func sanitise(msg wamp.Message, peer announced) verdict {
	switch m := msg.(type) {
	case *wamp.Publish:
		return sanitisePublish(m)
	case *wamp.Subscribe:
		return sanitiseSubscribe(m)
	case *wamp.Register:
		return sanitiseRegister(m)
	case *wamp.Call:
		return sanitiseCall(m, peer)
	case *wamp.Yield:
		return sanitiseYield(m)
	case *wamp.Error:
		return sanitiseError(m)
	case *wamp.Cancel:
		bad, passthru := checkOptions(m.Options, cancelOption)
		return judge(m, m.Request, bad, passthru)
	case *wamp.Unsubscribe:
		return judge(m, m.Request, "", false)
	case *wamp.Unregister:
		return judge(m, m.Request, "", false)
	case *wamp.Goodbye:
		m.Details = wamp.Dict{}
		return verdict{message: m}
	case *wamp.Abort:
		return verdict{action: leave, why: "the client aborted"}
	case *wamp.Hello, *wamp.Authenticate:
		return verdict{action: abort, why: fmt.Sprintf("%v in an open session", m.MessageType())}
	case nil:
		return verdict{action: abort, why: "no message"}
	}
	return verdict{action: abort, why: fmt.Sprintf("%v is sent by routers only", msg.MessageType())}
}

func sanitisePublish(m *wamp.Publish) verdict {
	bad, passthru := checkOptions(m.Options, publishOption)
	if bad == "" && !passthru && !validURI(m.Topic, core.Exact) {
		if !flag(m.Options, wamp.OptAcknowledge) {
			return verdict{action: ignore, why: "invalid topic"}
		}
		return refuse(m, m.Request, wamp.ErrInvalidURI, fmt.Sprintf("%.100q is not a valid topic", m.Topic))
	}
	v := judge(m, m.Request, bad, passthru)
	if v.action == answer && !flag(m.Options, wamp.OptAcknowledge) {
		// Nobody waits for an answer to this one.
		return verdict{action: ignore, why: bad}
	}
	return v
}

func sanitiseSubscribe(m *wamp.Subscribe) verdict {
	bad, passthru := checkOptions(m.Options, subscribeOption)
	if bad == "" && !passthru && !validURI(m.Topic, matchOf(m.Options)) {
		return refuse(m, m.Request, wamp.ErrInvalidURI, fmt.Sprintf("%.100q is not a valid topic", m.Topic))
	}
	m.Options = withDefault(m.Options, wamp.OptMatch, wamp.MatchExact)
	return judge(m, m.Request, bad, passthru)
}

func sanitiseRegister(m *wamp.Register) verdict {
	bad, passthru := checkOptions(m.Options, registerOption)
	if bad == "" && !passthru && (!validURI(m.Procedure, matchOf(m.Options)) || reserved(m.Procedure)) {
		return refuse(m, m.Request, wamp.ErrInvalidURI, fmt.Sprintf("%.100q is not a valid procedure", m.Procedure))
	}
	m.Options = withDefault(m.Options, wamp.OptMatch, wamp.MatchExact)
	m.Options = withDefault(m.Options, wamp.OptInvoke, wamp.InvokeSingle)
	return judge(m, m.Request, bad, passthru)
}

func sanitiseCall(m *wamp.Call, peer announced) verdict {
	bad, passthru := checkOptions(m.Options, callOption)
	switch {
	case bad != "" || passthru:
	case flag(m.Options, wamp.OptProgress) && !peer.progressiveInvocations:
		return verdict{action: abort, why: "CALL with progress without having announced progressive_call_invocations"}
	case !validURI(m.Procedure, core.Exact):
		return refuse(m, m.Request, wamp.ErrInvalidURI, fmt.Sprintf("%.100q is not a valid procedure", m.Procedure))
	}
	return judge(m, m.Request, bad, passthru)
}

// sanitiseYield turns a YIELD with a wrong option into an error, so that the caller
// gets an answer: the callee cannot be told.
func sanitiseYield(m *wamp.Yield) verdict {
	bad, passthru := checkOptions(m.Options, yieldOption)
	v := judge(m, m.Request, bad, passthru)
	if v.action == answer {
		return verdict{message: invocationError(m.Request, wamp.ErrInvalidArgument, "the callee yielded with "+bad), why: bad}
	}
	return v
}

func sanitiseError(m *wamp.Error) verdict {
	if m.Type != wamp.INVOCATION {
		return verdict{action: abort, why: fmt.Sprintf("ERROR for %v: clients answer invocations only", m.Type)}
	}
	if m.Error == "" {
		m.Error = "wamp.error.runtime_error"
	}
	_, passthru := checkOptions(m.Details, noOption)
	return judge(m, m.Request, "", passthru)
}

// judge turns what was found about a request into a verdict.
func judge(m wamp.Message, request wamp.ID, bad string, passthru bool) verdict {
	switch {
	case passthru:
		// "the peer MUST abort" (WAMP specification, "Payload Passthru Mode"): the
		// router does not announce the feature.
		return verdict{action: abort, why: fmt.Sprintf("%v with payload passthru options, which were not announced", m.MessageType())}
	case request == 0 || request > wamp.MaxID:
		return verdict{action: abort, why: fmt.Sprintf("%v with request id %d: want 1 to 2^53", m.MessageType(), request)}
	case bad != "":
		return refuse(m, request, wamp.ErrInvalidArgument, bad)
	}
	return verdict{message: m}
}

// refuse answers a request with an ERROR.
func refuse(m wamp.Message, request wamp.ID, uri wamp.URI, why string) verdict {
	return verdict{action: answer, why: why, message: requestError(m.MessageType(), request, uri, why)}
}

func requestError(t wamp.MessageType, request wamp.ID, uri wamp.URI, why string) *wamp.Error {
	e := &wamp.Error{Type: t, Request: request, Details: wamp.Dict{}, Error: uri}
	if why != "" {
		e.Arguments = wamp.List{why}
	}
	return e
}

func invocationError(request wamp.ID, uri wamp.URI, why string) *wamp.Error {
	return requestError(wamp.INVOCATION, request, uri, why)
}

func withDefault(options wamp.Dict, name string, v any) wamp.Dict {
	if _, has := options[name]; has {
		return options
	}
	return wamp.SetOption(options, name, v)
}
