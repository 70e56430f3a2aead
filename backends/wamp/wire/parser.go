package wire

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// A parser checks one encoded value after another and, if there is a sink, tells
// it what it sees. Checking and converting are one code, so that what passed the
// check converts.
//
// Its methods take the index of a value's first byte and return the index past its
// last; depth is the number of lists and maps around the value.
type parser struct {
	s   Serialization
	b   []byte
	max int  // how deep lists and maps may nest
	out sink // nil to check only

	scratch []byte // a string put together from escapes or chunks
	decoded []byte // a byte string decoded from base64
}

func (p *parser) value(i int) (int, error) {
	switch p.s {
	case JSON:
		return p.json(i, 0)
	case MsgPack:
		return p.msgpack(i, 0)
	case CBOR:
		return p.cbor(i, 0)
	}
	return i, p.fail(i, "unknown serialization")
}

// all parses a value that must be everything there is.
func (p *parser) all() error {
	i, err := p.value(0)
	if err != nil {
		return err
	}
	if p.s == JSON {
		i = p.space(i)
	}
	if i != len(p.b) {
		return p.fail(i, "bytes after the value")
	}
	return nil
}

func (p *parser) fail(at int, reason string) *Error {
	return &Error{Serialization: p.s, Offset: at, Reason: reason}
}

func (p *parser) truncated() *Error { return p.fail(len(p.b), "unexpected end") }

func (p *parser) tooDeep(at int) *Error {
	return &Error{
		Serialization: p.s, Offset: at, cause: ErrTooDeep,
		Reason: fmt.Sprintf("%v: more than %d levels", ErrTooDeep, p.max),
	}
}

// claim refuses a length that the remaining bytes cannot hold, before anybody
// acts on it: n items of at least size bytes each.
func (p *parser) claim(at, from int, n uint64, size int) error {
	if left := len(p.b) - from; n > uint64(left/size) {
		return p.fail(at, fmt.Sprintf("length %d is more than the %d bytes left", n, left))
	}
	return nil
}

// bigEndian reads an unsigned integer of 1, 2, 4 or 8 bytes.
func (p *parser) bigEndian(i, size int) (uint64, bool) {
	if len(p.b)-i < size {
		return 0, false
	}
	switch size {
	case 1:
		return uint64(p.b[i]), true
	case 2:
		return uint64(binary.BigEndian.Uint16(p.b[i:])), true
	case 4:
		return uint64(binary.BigEndian.Uint32(p.b[i:])), true
	default:
		return binary.BigEndian.Uint64(p.b[i:]), true
	}
}

// utf8 refuses a string with a byte in it that is no UTF-8, naming that byte.
func (p *parser) utf8(from, to int) error {
	s := p.b[from:to]
	if utf8.Valid(s) {
		return nil
	}
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRune(s[i:])
		if r == utf8.RuneError && n <= 1 {
			return p.fail(from+i, "invalid UTF-8")
		}
		i += n
	}
	return nil
}

// kind is what a value is, for the checks on message elements and their errors.
type kind uint8

const (
	kindNone kind = iota
	kindNull
	kindBool
	kindNumber
	kindString
	kindBinary
	kindList
	kindMap
	kindOther
)

func (k kind) String() string {
	switch k {
	case kindNone:
		return "nothing"
	case kindNull:
		return "null"
	case kindBool:
		return "a boolean"
	case kindNumber:
		return "a number"
	case kindString:
		return "a string"
	case kindBinary:
		return "a byte string"
	case kindList:
		return "a list"
	case kindMap:
		return "a map"
	}
	return "something else"
}

// kind looks at the first byte of the value at i.
func (p *parser) kind(i int) kind {
	if i >= len(p.b) {
		return kindNone
	}
	switch p.s {
	case JSON:
		return jsonKind(p.b[i])
	case MsgPack:
		return msgpackKind(p.b[i])
	default:
		return cborKind(p.b[i])
	}
}
