package wire

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/gammazero/nexus/v3/wamp"
)

// Payload is the args and kwargs of an event, call, result or error as they came
// over the wire. It is immutable and safe for concurrent use; so is what it
// returns, which callers must not change.
//
// Absent args and kwargs stay different from empty ones.
type Payload struct {
	source       Serialization
	args, kwargs []byte
	sender       *Sender

	list        [1]any // what Opaque returns
	conversions [CBOR]atomic.Pointer[conversion]
	frames      frames
}

// conversion is a payload in another serialisation than its own.
type conversion struct {
	once         sync.Once
	args, kwargs []byte
	err          error
}

// NewPayload returns a payload of args, one list encoded as s or nil, and kwargs,
// one map encoded as s or nil. It trusts that they are, and keeps the slices.
func NewPayload(s Serialization, args, kwargs []byte) *Payload {
	p := &Payload{source: s, args: args, kwargs: kwargs}
	p.list[0] = p
	return p
}

// Sender is on whose behalf the bridge calls. It stays in this process: no frame has
// it, and what comes over a wire has none, so that nobody can forge it.
type Sender struct {
	Token string // the name of the token that the call came with
	User  string // whom that token's app says it calls for, or ""
}

// From notes who sends the payload and returns it. It must be called before the
// payload is shared.
func (p *Payload) From(s *Sender) *Payload {
	p.sender = s
	return p
}

// Sender returns what From noted, or nil.
func (p *Payload) Sender() *Sender { return p.sender }

// ParsePayload is [NewPayload] for bytes that nobody has checked: it refuses args
// that are no list, kwargs that are no map, and whatever [Validate] refuses within
// the default limits. The error is an [*Error].
func ParsePayload(s Serialization, args, kwargs []byte) (*Payload, error) {
	for _, part := range []struct {
		value []byte
		want  kind
		field string
	}{{args, kindList, "Arguments"}, {kwargs, kindMap, "ArgumentsKw"}} {
		if part.value == nil {
			continue
		}
		if err := Validate(s, part.value, Limits{}); err != nil {
			return nil, fmt.Errorf("parse %s: %w", part.field, err)
		}
		p := parser{s: s, b: part.value}
		at := 0
		if s == JSON {
			at = p.space(0)
		}
		if have := p.kind(at); have != part.want {
			return nil, fmt.Errorf("parse %s: %w", part.field,
				p.fail(at, fmt.Sprintf("want %v, have %v", part.want, have)))
		}
	}
	return NewPayload(s, args, kwargs), nil
}

// Args returns the list encoded as s: the very bytes the sender wrote if s is its
// serialisation, else a conversion, which is made once. It is nil if absent.
func (p *Payload) Args(s Serialization) ([]byte, error) {
	args, _, err := p.in(s)
	return args, err
}

// Kwargs returns the map encoded as s, as [Payload.Args] does the list.
func (p *Payload) Kwargs(s Serialization) ([]byte, error) {
	_, kwargs, err := p.in(s)
	return kwargs, err
}

func (p *Payload) in(s Serialization) (args, kwargs []byte, err error) {
	if s == p.source {
		return p.args, p.kwargs, nil
	}
	if !s.valid() {
		return nil, nil, &Error{Serialization: s, Reason: "unknown serialization"}
	}
	slot := &p.conversions[s-1]
	c := slot.Load()
	if c == nil {
		slot.CompareAndSwap(nil, new(conversion))
		c = slot.Load()
	}
	c.once.Do(func() {
		if c.args, c.err = p.convert(s, p.args); c.err == nil {
			c.kwargs, c.err = p.convert(s, p.kwargs)
		}
	})
	return c.args, c.kwargs, c.err
}

func (p *Payload) convert(s Serialization, value []byte) ([]byte, error) {
	if value == nil {
		return nil, nil
	}
	// Escapes and heads differ a little in length; a byte string in JSON grows more,
	// and the slice with it.
	return convert(make([]byte, 0, len(value)+len(value)/8+16), p.source, s, value, maxDepth)
}

// Values decodes the payload into Go values: nil, bool, int64, uint64 or *big.Int
// (the first that fits), float64, string, []byte, wamp.List and wamp.Dict. The
// result is the caller's. It is nil for what is absent.
func (p *Payload) Values() (wamp.List, wamp.Dict, error) {
	args, err := p.decode(p.args)
	if err != nil {
		return nil, nil, err
	}
	kwargs, err := p.decode(p.kwargs)
	if err != nil {
		return nil, nil, err
	}
	list, _ := args.(wamp.List)
	dict, _ := kwargs.(wamp.Dict)
	return list, dict, nil
}

func (p *Payload) decode(value []byte) (any, error) {
	if value == nil {
		return nil, nil
	}
	var b builder
	parse := parser{s: p.source, b: value, max: maxDepth, out: &b}
	err := parse.all()
	return b.root, err
}

// Size returns how many bytes args and kwargs take as the sender wrote them.
func (p *Payload) Size() int { return len(p.args) + len(p.kwargs) }

// Opaque returns the Arguments of a message that carries p: a list of p alone, with
// ArgumentsKw to be left nil. It is nil for a nil p. The router copies the list for
// each subscriber, which is one pointer. Callers must not change the list.
func Opaque(p *Payload) wamp.List {
	if p == nil {
		return nil
	}
	return p.list[:1:1]
}

// PayloadOf returns the payload that msg carries as [Opaque] put it there, or nil
// if msg has none or has plain values.
func PayloadOf(msg wamp.Message) *Payload {
	switch m := msg.(type) {
	case *wamp.Publish:
		return opaque(m.Arguments, m.ArgumentsKw)
	case *wamp.Event:
		return opaque(m.Arguments, m.ArgumentsKw)
	case *wamp.Call:
		return opaque(m.Arguments, m.ArgumentsKw)
	case *wamp.Invocation:
		return opaque(m.Arguments, m.ArgumentsKw)
	case *wamp.Yield:
		return opaque(m.Arguments, m.ArgumentsKw)
	case *wamp.Result:
		return opaque(m.Arguments, m.ArgumentsKw)
	case *wamp.Error:
		return opaque(m.Arguments, m.ArgumentsKw)
	}
	return nil
}

func opaque(args wamp.List, kwargs wamp.Dict) *Payload {
	if len(args) != 1 || len(kwargs) != 0 {
		return nil
	}
	p, _ := args[0].(*Payload)
	return p
}
