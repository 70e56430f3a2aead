package wire

import (
	"fmt"

	"github.com/gammazero/nexus/v3/wamp"
)

// Append appends the encoding of msg as s to dst. On error dst is returned as it was.
//
// An opaque payload (see [Opaque]) is copied, converted if it has to be. Absent args
// and kwargs stay absent and empty ones stay empty, except that kwargs need args
// before them: absent ones are then written as an empty list. Plain values, from
// the router itself, are encoded as they are; there empty means absent, as the
// specification asks of senders ("Empty Arguments and Keyword Arguments").
//
// Besides the types that a decoded message has, plain values may be of any boolean,
// number, string, slice, map with string keys, pointer or struct type. Map entries
// are written in the order of their keys.
func Append(dst []byte, s Serialization, msg wamp.Message) ([]byte, error) {
	if !s.valid() {
		return dst, fmt.Errorf("append message: unknown %v", s)
	}
	e := newEncoder(dst, s)
	e.message(msg)
	if e.err != nil {
		return dst, fmt.Errorf("append %v as %v: %w", msg.MessageType(), s, e.err)
	}
	if s == JSON {
		e.b = append(e.b, ']')
	}
	return e.b, nil
}

func (e *encoder) message(msg wamp.Message) {
	switch m := msg.(type) {
	case *wamp.Event:
		c := e.content(m.Arguments, m.ArgumentsKw)
		e.begin(wamp.EVENT, 3+c.n)
		e.id(m.Subscription)
		e.id(m.Publication)
		e.dict(m.Details, 0)
		e.end(c)
	case *wamp.Invocation:
		c := e.content(m.Arguments, m.ArgumentsKw)
		e.begin(wamp.INVOCATION, 3+c.n)
		e.id(m.Request)
		e.id(m.Registration)
		e.dict(m.Details, 0)
		e.end(c)
	case *wamp.Result:
		c := e.content(m.Arguments, m.ArgumentsKw)
		e.begin(wamp.RESULT, 2+c.n)
		e.id(m.Request)
		e.dict(m.Details, 0)
		e.end(c)
	case *wamp.Yield:
		c := e.content(m.Arguments, m.ArgumentsKw)
		e.begin(wamp.YIELD, 2+c.n)
		e.id(m.Request)
		e.dict(m.Options, 0)
		e.end(c)
	case *wamp.Call:
		c := e.content(m.Arguments, m.ArgumentsKw)
		e.begin(wamp.CALL, 3+c.n)
		e.id(m.Request)
		e.dict(m.Options, 0)
		e.goString(string(m.Procedure))
		e.end(c)
	case *wamp.Publish:
		c := e.content(m.Arguments, m.ArgumentsKw)
		e.begin(wamp.PUBLISH, 3+c.n)
		e.id(m.Request)
		e.dict(m.Options, 0)
		e.goString(string(m.Topic))
		e.end(c)
	case *wamp.Error:
		c := e.content(m.Arguments, m.ArgumentsKw)
		e.begin(wamp.ERROR, 4+c.n)
		e.integer(false, uint64(m.Type))
		e.id(m.Request)
		e.dict(m.Details, 0)
		e.goString(string(m.Error))
		e.end(c)

	case *wamp.Hello:
		e.begin(wamp.HELLO, 2)
		e.goString(string(m.Realm))
		e.dict(m.Details, 0)
	case *wamp.Welcome:
		e.begin(wamp.WELCOME, 2)
		e.id(m.ID)
		e.dict(m.Details, 0)
	case *wamp.Abort:
		e.begin(wamp.ABORT, 2)
		e.dict(m.Details, 0)
		e.goString(string(m.Reason))
	case *wamp.Challenge:
		e.begin(wamp.CHALLENGE, 2)
		e.goString(m.AuthMethod)
		e.dict(m.Extra, 0)
	case *wamp.Authenticate:
		e.begin(wamp.AUTHENTICATE, 2)
		e.goString(m.Signature)
		e.dict(m.Extra, 0)
	case *wamp.Goodbye:
		e.begin(wamp.GOODBYE, 2)
		e.dict(m.Details, 0)
		e.goString(string(m.Reason))

	case *wamp.Published:
		e.begin(wamp.PUBLISHED, 2)
		e.id(m.Request)
		e.id(m.Publication)
	case *wamp.Subscribe:
		e.begin(wamp.SUBSCRIBE, 3)
		e.id(m.Request)
		e.dict(m.Options, 0)
		e.goString(string(m.Topic))
	case *wamp.Subscribed:
		e.begin(wamp.SUBSCRIBED, 2)
		e.id(m.Request)
		e.id(m.Subscription)
	case *wamp.Unsubscribe:
		e.begin(wamp.UNSUBSCRIBE, 2)
		e.id(m.Request)
		e.id(m.Subscription)
	case *wamp.Unsubscribed:
		e.begin(wamp.UNSUBSCRIBED, 1)
		e.id(m.Request)
	case *wamp.Cancel:
		e.begin(wamp.CANCEL, 2)
		e.id(m.Request)
		e.dict(m.Options, 0)
	case *wamp.Register:
		e.begin(wamp.REGISTER, 3)
		e.id(m.Request)
		e.dict(m.Options, 0)
		e.goString(string(m.Procedure))
	case *wamp.Registered:
		e.begin(wamp.REGISTERED, 2)
		e.id(m.Request)
		e.id(m.Registration)
	case *wamp.Unregister:
		e.begin(wamp.UNREGISTER, 2)
		e.id(m.Request)
		e.id(m.Registration)
	case *wamp.Unregistered:
		e.begin(wamp.UNREGISTERED, 1)
		e.id(m.Request)
	case *wamp.Interrupt:
		e.begin(wamp.INTERRUPT, 2)
		e.id(m.Request)
		e.dict(m.Options, 0)
	default:
		e.fail(fmt.Errorf("unknown message %T", msg))
	}
}

// begin writes the head of a message with n elements after its type.
func (e *encoder) begin(t wamp.MessageType, n int) {
	e.openList(1 + n)
	e.integer(false, uint64(t))
}

func (e *encoder) id(id wamp.ID) { e.integer(false, uint64(id)) }

// content is the payload part of a message that is being written.
type content struct {
	n            int    // how many elements it takes
	args, kwargs []byte // of an opaque payload
	list         wamp.List
	dict         wamp.Dict
	plain        bool
}

func (e *encoder) content(list wamp.List, dict wamp.Dict) content {
	c := content{list: list, dict: dict}
	if p := opaque(list, dict); p != nil {
		var err error
		if c.args, c.kwargs, err = p.in(e.s); err != nil {
			e.fail(err)
		}
		switch {
		case c.kwargs != nil:
			c.n = 2
		case c.args != nil:
			c.n = 1
		}
		return c
	}
	c.plain = true
	switch {
	case len(dict) > 0:
		c.n = 2
	case len(list) > 0:
		c.n = 1
	}
	return c
}

// end writes the payload part.
func (e *encoder) end(c content) {
	switch {
	case c.n == 0:
		return
	case c.plain:
		e.list(c.list, 0)
	case c.args == nil:
		e.list(nil, 0)
	default:
		e.raw(c.args)
	}
	switch {
	case c.n == 1:
	case c.plain:
		e.dict(c.dict, 0)
	default:
		e.raw(c.kwargs)
	}
}
