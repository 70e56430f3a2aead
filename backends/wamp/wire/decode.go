package wire

import (
	"fmt"
	"math"
	"strconv"

	"github.com/gammazero/nexus/v3/wamp"
)

// Decode parses one message. It takes ownership of frame: the payload of the result
// aliases it. The error is an [*Error].
//
// Every element is checked for its type (WAMP specification, "Messages"): IDs are
// integers from 1 to 2^53, URIs and other texts strings, options and details maps,
// args a list or null, kwargs a map or null. Null stands for absent, as AutobahnJS
// sends it; the Extra of AUTHENTICATE may be null too, as nexus' client sends it. A
// float without a fraction is accepted for an ID, since JavaScript and Lua have one
// type for both. URIs are not checked beyond being strings.
//
// A message must have the elements its type wants and none after them ("No
// Polymorphism"), with the exceptions of the advanced profile: a dictionary at the
// end of UNSUBSCRIBE, UNSUBSCRIBED, UNREGISTER and UNREGISTERED is allowed and
// ignored. The latter ones tell of a revocation when their request is 0; ERROR may
// have 0 as well.
//
// Args and kwargs end up in Arguments, as [Opaque] puts them there; Arguments is nil
// if there are neither, and ArgumentsKw always is. Options and details consist of
// the types that [Payload.Values] names. Those of HELLO, WELCOME, ABORT, CHALLENGE,
// AUTHENTICATE and GOODBYE are maps of the message's own. All others are nil if
// empty: they can be read, and [wamp.SetOption] makes a map.
func Decode(s Serialization, frame []byte, lim Limits) (wamp.Message, error) {
	if len(frame) > lim.size() {
		return nil, tooLarge(s, len(frame), lim.size())
	}
	d := decoder{parser: parser{s: s, b: frame, max: lim.depth()}}
	d.begin()
	msg := d.message()
	d.finish()
	if d.err != nil {
		return nil, d.err
	}
	return msg, nil
}

// A decoder reads the elements of a message one after the other. After the first
// failure it reads zero values.
type decoder struct {
	parser
	i    int // the next byte
	left int // elements left, -1 if only the end of the list will tell
	err  error

	typ   wamp.MessageType
	field string
	index int // of the element named field; -1 before the first
}

func (d *decoder) message() wamp.Message {
	d.typ = wamp.MessageType(d.integer("MessageType", 0, 1023))
	switch d.typ {
	case wamp.CALL:
		m := &wamp.Call{Request: d.id("Request"), Options: d.options(), Procedure: d.uri("Procedure")}
		m.Arguments = d.payload()
		return m
	case wamp.PUBLISH:
		m := &wamp.Publish{Request: d.id("Request"), Options: d.options(), Topic: d.uri("Topic")}
		m.Arguments = d.payload()
		return m
	case wamp.YIELD:
		m := &wamp.Yield{Request: d.id("Request"), Options: d.options()}
		m.Arguments = d.payload()
		return m
	case wamp.RESULT:
		m := &wamp.Result{Request: d.id("Request"), Details: d.details()}
		m.Arguments = d.payload()
		return m
	case wamp.EVENT:
		m := &wamp.Event{Subscription: d.id("Subscription"), Publication: d.id("Publication"), Details: d.details()}
		m.Arguments = d.payload()
		return m
	case wamp.INVOCATION:
		m := &wamp.Invocation{Request: d.id("Request"), Registration: d.id("Registration"), Details: d.details()}
		m.Arguments = d.payload()
		return m
	case wamp.ERROR:
		m := &wamp.Error{
			Type:    wamp.MessageType(d.integer("Type", 0, 1023)),
			Request: d.idOrZero("Request"), Details: d.details(), Error: d.uri("Error"),
		}
		m.Arguments = d.payload()
		return m

	case wamp.HELLO:
		return &wamp.Hello{Realm: d.uri("Realm"), Details: d.dict("Details")}
	case wamp.WELCOME:
		return &wamp.Welcome{ID: d.id("Session"), Details: d.dict("Details")}
	case wamp.ABORT:
		return &wamp.Abort{Details: d.dict("Details"), Reason: d.uri("Reason")}
	case wamp.CHALLENGE:
		return &wamp.Challenge{AuthMethod: d.text("AuthMethod"), Extra: d.dict("Extra")}
	case wamp.AUTHENTICATE:
		return &wamp.Authenticate{Signature: d.text("Signature"), Extra: d.extra()}
	case wamp.GOODBYE:
		return &wamp.Goodbye{Details: d.dict("Details"), Reason: d.uri("Reason")}

	case wamp.PUBLISHED:
		return &wamp.Published{Request: d.id("Request"), Publication: d.id("Publication")}
	case wamp.SUBSCRIBE:
		return &wamp.Subscribe{Request: d.id("Request"), Options: d.options(), Topic: d.uri("Topic")}
	case wamp.SUBSCRIBED:
		return &wamp.Subscribed{Request: d.id("Request"), Subscription: d.id("Subscription")}
	case wamp.UNSUBSCRIBE:
		m := &wamp.Unsubscribe{Request: d.id("Request"), Subscription: d.id("Subscription")}
		d.span("Options", kindMap)
		return m
	case wamp.UNSUBSCRIBED:
		m := &wamp.Unsubscribed{Request: d.idOrZero("Request")}
		d.span("Details", kindMap)
		return m
	case wamp.CANCEL:
		return &wamp.Cancel{Request: d.id("Request"), Options: d.options()}
	case wamp.REGISTER:
		return &wamp.Register{Request: d.id("Request"), Options: d.options(), Procedure: d.uri("Procedure")}
	case wamp.REGISTERED:
		return &wamp.Registered{Request: d.id("Request"), Registration: d.id("Registration")}
	case wamp.UNREGISTER:
		m := &wamp.Unregister{Request: d.id("Request"), Registration: d.id("Registration")}
		d.span("Options", kindMap)
		return m
	case wamp.UNREGISTERED:
		m := &wamp.Unregistered{Request: d.idOrZero("Request")}
		d.span("Details", kindMap)
		return m
	case wamp.INTERRUPT:
		return &wamp.Interrupt{Request: d.id("Request"), Options: d.options()}
	}
	unknown := d.typ
	d.typ = 0
	d.failf(d.i, "unknown message type %d", unknown)
	return nil
}

// begin reads the head of the message list.
func (d *decoder) begin() {
	d.index = -1
	if d.s == JSON {
		d.i = d.space(0)
	}
	if have := d.kind(d.i); have != kindList {
		d.failf(d.i, "want a message, which is a list, have %v", have)
		return
	}
	var (
		n    uint64
		from int
		err  error
	)
	switch d.s {
	case MsgPack:
		n, from, err = d.msgpackLen(d.i)
	case CBOR:
		var h cborHead
		if h, from, err = d.head(d.i); h.indefinite() {
			d.left = -1
		}
		n = h.arg
	default:
		d.left, from = -1, d.i+1
	}
	if err == nil {
		err = d.claim(d.i, from, n, 1)
	}
	if err != nil {
		d.fault(err)
		return
	}
	d.i = from
	if d.left == 0 {
		d.left = int(n)
	}
}

// more moves to the next element, if there is one.
func (d *decoder) more(field string) bool {
	if d.err != nil {
		return false
	}
	d.index++
	d.field = field
	switch {
	case d.left == 0:
		return false
	case d.left > 0:
		d.left--
		return true
	case d.s == CBOR:
		if d.i < len(d.b) && d.b[d.i] == cborBreak {
			d.i++
			d.left = 0
			return false
		}
		return true
	}
	d.i = d.space(d.i)
	switch {
	case d.i >= len(d.b):
		d.fault(d.truncated())
		return false
	case d.b[d.i] == ']':
		d.i++
		d.left = 0
		return false
	case d.index == 0:
		return true
	case d.b[d.i] != ',':
		d.failf(d.i, "want , or ] after a message element")
		return false
	}
	d.i = d.space(d.i + 1)
	return true
}

// want moves to the next element, which must be there and of a kind.
func (d *decoder) want(field string, want kind) bool {
	if !d.more(field) {
		if d.err == nil {
			d.failf(d.i, "missing")
		}
		return false
	}
	if have := d.parser.kind(d.i); have != want {
		d.failf(d.i, "want %v, have %v", want, have)
		return false
	}
	return true
}

// finish makes sure that nothing is left, in the list and after it.
func (d *decoder) finish() {
	if d.err != nil {
		return
	}
	if d.left != 0 && d.more("") {
		d.failf(d.i, "element %d is one too many", d.index)
		return
	}
	if d.err != nil {
		return
	}
	d.field = ""
	if d.s == JSON {
		d.i = d.space(d.i)
	}
	if d.i != len(d.b) {
		d.failf(d.i, "bytes after the message")
	}
}

func (d *decoder) failf(at int, format string, args ...any) {
	d.fault(d.fail(at, fmt.Sprintf(format, args...)))
}

// fault notes the first error, with the element it is in.
func (d *decoder) fault(err error) {
	if d.err != nil {
		return
	}
	if e, ok := err.(*Error); ok { //nolint:errorlint // the parser's own, never wrapped
		e.Type, e.Field, e.Index = d.typ, d.field, max(d.index, 0)
	}
	d.err = err
}

func (d *decoder) id(field string) wamp.ID { return wamp.ID(d.integer(field, 1, 1<<53)) }

// idOrZero reads a request that may be 0 because there was none.
func (d *decoder) idOrZero(field string) wamp.ID { return wamp.ID(d.integer(field, 0, 1<<53)) }

func (d *decoder) uri(field string) wamp.URI { return wamp.URI(d.text(field)) }

// options and details read a map, nil if it is empty.
func (d *decoder) options() wamp.Dict { return d.dictOrNil("Options") }
func (d *decoder) details() wamp.Dict { return d.dictOrNil("Details") }

func (d *decoder) integer(field string, least, most uint64) uint64 {
	if !d.want(field, kindNumber) {
		return 0
	}
	at := d.i
	n, ok, err := d.number()
	if err != nil {
		d.fault(err)
		return 0
	}
	if !ok || n < least || n > most {
		d.failf(at, "want an integer from %d to %d", least, most)
		return 0
	}
	return n
}

// number reads a number; ok is false unless it is a whole one from 0 to 2^64-1.
func (d *decoder) number() (n uint64, ok bool, err error) {
	at := d.i
	switch d.s {
	case JSON:
		var integer bool
		if d.i, integer, err = d.jsonNumber(at); err != nil {
			return 0, false, err
		}
		lit := d.b[at:d.i]
		if integer {
			if lit[0] == '-' {
				return 0, false, nil
			}
			n, ok = parseUint(lit)
			return n, ok, nil
		}
		f, _ := strconv.ParseFloat(string(lit), 64)
		n, ok = whole(f)
		return n, ok, nil
	case MsgPack:
		if c := d.b[at]; c == 0xca || c == 0xcb {
			size := 4 << (c - 0xca)
			bits, have := d.bigEndian(at+1, size)
			if !have {
				return 0, false, d.truncated()
			}
			d.i = at + 1 + size
			n, ok = whole(floatOf(bits, size))
			return n, ok, nil
		}
		var neg bool
		neg, n, d.i, err = d.msgpackInt(at)
		return n, !neg, err
	default:
		var h cborHead
		if h, d.i, err = d.head(at); err != nil {
			return 0, false, err
		}
		switch {
		case h.major == cborUint:
			return h.arg, true, nil
		case h.major == cborNegative:
			return 0, false, nil
		case h.info == 25:
			n, ok = whole(float16(uint16(h.arg)))
		default:
			n, ok = whole(floatOf(h.arg, 4<<(h.info-26)))
		}
		return n, ok, nil
	}
}

// whole returns f as an integer if it is one that a double holds exactly.
func whole(f float64) (uint64, bool) {
	if f < 0 || f > 1<<53 || f != math.Trunc(f) {
		return 0, false
	}
	return uint64(f), true
}

func (d *decoder) text(field string) string {
	if !d.want(field, kindString) {
		return ""
	}
	var (
		at  = d.i
		s   []byte
		err error
	)
	switch d.s {
	case JSON:
		var escaped bool
		if d.i, escaped, err = d.jsonString(at); err == nil {
			s = d.jsonText(at, d.i, escaped)
		}
	case MsgPack:
		var from int
		if from, d.i, err = d.msgpackString(at); err == nil {
			s = d.b[from:d.i]
		}
	default:
		var h cborHead
		if h, d.i, err = d.head(at); err == nil {
			s, d.i, err = d.cborString(at, d.i, h, true)
		}
	}
	if err != nil {
		d.fault(err)
		return ""
	}
	return string(s)
}

// dict reads a map.
func (d *decoder) dict(field string) wamp.Dict {
	if m := d.dictOrNil(field); m != nil {
		return m
	}
	return wamp.Dict{}
}

// extra reads the last element of AUTHENTICATE. Null is taken for an empty map: some
// clients send it when they have nothing to add.
func (d *decoder) extra() wamp.Dict {
	const field = "Extra"
	if !d.more(field) {
		if d.err == nil {
			d.failf(d.i, "missing")
		}
		return wamp.Dict{}
	}
	switch have := d.parser.kind(d.i); have {
	case kindNull:
		end, err := d.value(d.i)
		if err != nil {
			d.fault(err)
		}
		d.i = end
	case kindMap:
		if m := d.mapHere(); m != nil {
			return m
		}
	default:
		d.failf(d.i, "want %v, have %v", kindMap, have)
	}
	return wamp.Dict{}
}

func (d *decoder) dictOrNil(field string) wamp.Dict {
	if !d.want(field, kindMap) {
		return nil
	}
	return d.mapHere()
}

// mapHere reads the map at the current place, nil if it is empty.
func (d *decoder) mapHere() wamp.Dict {
	if d.emptyMap() {
		return nil
	}
	var b builder
	d.i = d.build(&b)
	m, _ := b.root.(wamp.Dict)
	if len(m) == 0 {
		return nil
	}
	return m
}

func (d *decoder) build(b *builder) int {
	p := parser{s: d.s, b: d.b, max: d.max, out: b}
	end, err := p.value(d.i)
	if err != nil {
		d.fault(err)
	}
	return end
}

// emptyMap passes over the shortest form of an empty map, which is what most
// messages have for options.
func (d *decoder) emptyMap() bool {
	switch d.s {
	case JSON:
		if d.i+1 < len(d.b) && d.b[d.i+1] == '}' {
			d.i += 2
			return true
		}
	case MsgPack:
		if d.b[d.i] == 0x80 {
			d.i++
			return true
		}
	default:
		if d.b[d.i] == cborMap<<5 {
			d.i++
			return true
		}
	}
	return false
}

// payload reads args and kwargs, if they are there.
func (d *decoder) payload() wamp.List {
	args := d.span("Arguments", kindList)
	kwargs := d.span("ArgumentsKw", kindMap)
	if d.err != nil || args == nil && kwargs == nil {
		return nil
	}
	return Opaque(NewPayload(d.s, args, kwargs))
}

// span checks an optional element and returns its bytes, nil if it is absent or null.
func (d *decoder) span(field string, want kind) []byte {
	if d.left == 0 || !d.more(field) {
		return nil
	}
	from := d.i
	have := d.parser.kind(from)
	if have != want && have != kindNull {
		d.failf(from, "want %v, have %v", want, have)
		return nil
	}
	end, err := d.value(from)
	if err != nil {
		d.fault(err)
		return nil
	}
	d.i = end
	if have == kindNull {
		return nil
	}
	return d.b[from:end:end]
}
