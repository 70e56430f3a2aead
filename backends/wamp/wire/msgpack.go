package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

func msgpackKind(c byte) kind {
	switch {
	case c <= 0x7f, c >= 0xe0, c >= 0xca && c <= 0xd3:
		return kindNumber
	case c <= 0x8f, c == 0xde, c == 0xdf:
		return kindMap
	case c <= 0x9f, c == 0xdc, c == 0xdd:
		return kindList
	case c <= 0xbf, c >= 0xd9 && c <= 0xdb:
		return kindString
	case c == 0xc0:
		return kindNull
	case c == 0xc2, c == 0xc3:
		return kindBool
	case c >= 0xc4 && c <= 0xc6:
		return kindBinary
	}
	return kindOther
}

// msgpack parses a value as the MessagePack specification (version 5) defines it.
func (p *parser) msgpack(i, depth int) (int, error) {
	if i >= len(p.b) {
		return i, p.truncated()
	}
	c := p.b[i]
	switch msgpackKind(c) {
	case kindNumber:
		return p.msgpackNumber(i)
	case kindMap, kindList:
		n, from, err := p.msgpackLen(i)
		if err != nil {
			return i, err
		}
		if msgpackKind(c) == kindMap {
			return p.msgpackMap(i, from, depth, n)
		}
		return p.msgpackList(i, from, depth, n)
	case kindString:
		from, to, err := p.msgpackString(i)
		if err == nil && p.out != nil {
			p.out.text(p.b[from:to])
		}
		return to, err
	case kindBinary:
		from, to, err := p.msgpackBytes(i)
		if err == nil && p.out != nil {
			p.out.binary(p.b[from:to])
		}
		return to, err
	case kindNull:
		if p.out != nil {
			p.out.null()
		}
		return i + 1, nil
	case kindBool:
		if p.out != nil {
			p.out.boolean(c == 0xc3)
		}
		return i + 1, nil
	}
	if c == 0xc1 {
		return i, p.fail(i, "invalid byte 0xc1")
	}
	return p.msgpackExt(i)
}

// msgpackLen reads the head of a string, byte string, list or map: its length, and
// the index past the head.
func (p *parser) msgpackLen(i int) (n uint64, from int, err error) {
	var size int
	switch c := p.b[i]; {
	case c >= 0x80 && c <= 0x9f:
		return uint64(c & 0x0f), i + 1, nil
	case c >= 0xa0 && c <= 0xbf:
		return uint64(c & 0x1f), i + 1, nil
	case c == 0xd9, c == 0xc4:
		size = 1
	case c == 0xda, c == 0xc5, c == 0xdc, c == 0xde:
		size = 2
	default:
		size = 4
	}
	n, ok := p.bigEndian(i+1, size)
	if !ok {
		return 0, i, p.truncated()
	}
	return n, i + 1 + size, nil
}

func (p *parser) msgpackBytes(i int) (from, to int, err error) {
	n, from, err := p.msgpackLen(i)
	if err != nil {
		return i, i, err
	}
	if err := p.claim(i, from, n, 1); err != nil {
		return i, i, err
	}
	return from, from + int(n), nil
}

func (p *parser) msgpackString(i int) (from, to int, err error) {
	from, to, err = p.msgpackBytes(i)
	if err == nil {
		err = p.utf8(from, to)
	}
	return from, to, err
}

func (p *parser) msgpackList(at, i, depth int, n uint64) (int, error) {
	if depth >= p.max {
		return at, p.tooDeep(at)
	}
	if err := p.claim(at, i, n, 1); err != nil {
		return at, err
	}
	mark := 0
	if p.out != nil {
		mark = p.out.openList(int(n))
	}
	for range n {
		var err error
		if i, err = p.msgpack(i, depth+1); err != nil {
			return i, err
		}
	}
	if p.out != nil {
		p.out.closeList(mark, int(n))
	}
	return i, nil
}

func (p *parser) msgpackMap(at, i, depth int, n uint64) (int, error) {
	if depth >= p.max {
		return at, p.tooDeep(at)
	}
	if err := p.claim(at, i, n, 2); err != nil {
		return at, err
	}
	mark := 0
	if p.out != nil {
		mark = p.out.openMap(int(n))
	}
	for range n {
		var err error
		if i, err = p.msgpackKey(i); err != nil {
			return i, err
		}
		if i, err = p.msgpack(i, depth+1); err != nil {
			return i, err
		}
	}
	if p.out != nil {
		p.out.closeMap(mark, int(n))
	}
	return i, nil
}

// msgpackKey parses a map key: a string, or an integer, which becomes its decimal
// digits (WAMP dictionaries have string keys only).
func (p *parser) msgpackKey(i int) (int, error) {
	switch k := p.kind(i); k {
	case kindString:
		from, to, err := p.msgpackString(i)
		if err == nil && p.out != nil {
			p.out.key(p.b[from:to])
		}
		return to, err
	case kindNone:
		return i, p.truncated()
	case kindNumber:
		if c := p.b[i]; c != 0xca && c != 0xcb {
			neg, n, end, err := p.msgpackInt(i)
			if err == nil && p.out != nil {
				p.scratch = appendJSONInt(p.scratch[:0], neg, n)
				p.out.key(p.scratch)
			}
			return end, err
		}
		return i, p.fail(i, "want a string or an integer as map key, have a float")
	default:
		return i, p.fail(i, fmt.Sprintf("want a string or an integer as map key, have %v", k))
	}
}

func (p *parser) msgpackNumber(i int) (int, error) {
	size := 4
	switch p.b[i] {
	case 0xcb:
		size = 8
		fallthrough
	case 0xca:
		bits, ok := p.bigEndian(i+1, size)
		if !ok {
			return i, p.truncated()
		}
		if p.out != nil {
			p.out.float(floatOf(bits, size))
		}
		return i + 1 + size, nil
	}
	neg, n, end, err := p.msgpackInt(i)
	if err == nil && p.out != nil {
		p.out.integer(neg, n)
	}
	return end, err
}

// msgpackInt reads an integer as n or, when neg, -1-n.
func (p *parser) msgpackInt(i int) (neg bool, n uint64, end int, err error) {
	c := p.b[i]
	switch {
	case c <= 0x7f:
		return false, uint64(c), i + 1, nil
	case c >= 0xe0:
		return true, uint64(^c), i + 1, nil
	}
	size := 1 << (c & 3) // 0xcc…0xcf are unsigned, 0xd0…0xd3 signed
	n, ok := p.bigEndian(i+1, size)
	if !ok {
		return false, 0, i, p.truncated()
	}
	end = i + 1 + size
	if c <= 0xcf {
		return false, n, end, nil
	}
	shift := 64 - 8*size
	v := int64(n<<shift) >> shift
	if v < 0 {
		return true, uint64(^v), end, nil
	}
	return false, uint64(v), end, nil
}

// msgpackExt parses an extension: a timestamp (type -1) becomes RFC 3339 text in
// UTC, anything else the byte string of its data.
func (p *parser) msgpackExt(i int) (int, error) {
	c := p.b[i]
	from := i + 1
	var n uint64
	if c >= 0xd4 {
		n = 1 << (c - 0xd4) // fixext 1, 2, 4, 8, 16
	} else {
		size := 1 << (c - 0xc7) // ext 8, 16, 32
		var ok bool
		if n, ok = p.bigEndian(from, size); !ok {
			return i, p.truncated()
		}
		from += size
	}
	if from >= len(p.b) {
		return i, p.truncated()
	}
	typ := int8(p.b[from])
	from++
	if err := p.claim(i, from, n, 1); err != nil {
		return i, err
	}
	end := from + int(n)
	if p.out == nil {
		return end, nil
	}
	data := p.b[from:end]
	if t, ok := timestamp(data); ok && typ == -1 {
		p.scratch = t.AppendFormat(p.scratch[:0], time.RFC3339Nano)
		p.out.text(p.scratch)
	} else {
		p.out.binary(data)
	}
	return end, nil
}

// timestamp reads the three forms of the timestamp extension. Years that RFC 3339
// cannot write are left to the caller.
func timestamp(data []byte) (time.Time, bool) {
	var sec int64
	var nano uint64
	switch len(data) {
	case 4:
		sec = int64(binary.BigEndian.Uint32(data))
	case 8:
		v := binary.BigEndian.Uint64(data)
		sec, nano = int64(v&(1<<34-1)), v>>34
	case 12:
		nano = uint64(binary.BigEndian.Uint32(data))
		sec = int64(binary.BigEndian.Uint64(data[4:]))
	default:
		return time.Time{}, false
	}
	const first, last = -62167219200, 253402300799 // 0000-01-01T00:00:00Z, 9999-12-31T23:59:59Z
	if nano > 999_999_999 || sec < first || sec > last {
		return time.Time{}, false
	}
	return time.Unix(sec, int64(nano)).UTC(), true
}

func floatOf(bits uint64, size int) float64 {
	if size == 4 {
		return float64(math.Float32frombits(uint32(bits)))
	}
	return math.Float64frombits(bits)
}

// appendMsgPackInt writes n or, when neg, -1-n, which must be an int64.
func appendMsgPackInt(b []byte, neg bool, n uint64) []byte {
	if neg {
		switch {
		case n < 32:
			return append(b, ^byte(n))
		case n <= math.MaxInt8:
			return append(b, 0xd0, ^byte(n))
		case n <= math.MaxInt16:
			return binary.BigEndian.AppendUint16(append(b, 0xd1), ^uint16(n))
		case n <= math.MaxInt32:
			return binary.BigEndian.AppendUint32(append(b, 0xd2), ^uint32(n))
		}
		return binary.BigEndian.AppendUint64(append(b, 0xd3), ^n)
	}
	switch {
	case n <= math.MaxInt8:
		return append(b, byte(n))
	case n <= math.MaxUint8:
		return append(b, 0xcc, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xcf), n)
}

// appendMsgPackLen writes the head of a list, map or string of n: fix is the first
// byte of the one-byte form, which holds lengths below room; next the first byte
// of the longer ones, the shortest of which has size bytes.
func appendMsgPackLen(b []byte, n int, fix byte, room int, next byte, size int) []byte {
	switch {
	case n < room:
		return append(b, fix|byte(n))
	case size == 1 && n <= math.MaxUint8:
		return append(b, next, byte(n))
	}
	if size == 1 {
		next++
	}
	if n <= math.MaxUint16 {
		return binary.BigEndian.AppendUint16(append(b, next), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, next+1), uint32(n))
}

func appendMsgPackList(b []byte, n int) []byte { return appendMsgPackLen(b, n, 0x90, 16, 0xdc, 2) }
func appendMsgPackMap(b []byte, n int) []byte  { return appendMsgPackLen(b, n, 0x80, 16, 0xde, 2) }

func appendMsgPackString[T string | []byte](b []byte, s T) []byte {
	return append(appendMsgPackLen(b, len(s), 0xa0, 32, 0xd9, 1), s...)
}

func appendMsgPackBinary(b, data []byte) []byte {
	return append(appendMsgPackLen(b, len(data), 0, 0, 0xc4, 1), data...)
}
