package wire

import (
	"encoding/binary"
	"math"
	"slices"
)

// An encoder appends values in one serialisation. It is the sink of conversions,
// and what messages and Go values are written with.
//
// Lists and maps whose length is not known in advance get a head of one byte, which
// closing fills in. If the length does not fit into it, the longer head is noted and
// finish makes room for all of those in one pass, so that the work stays linear
// whatever the nesting.
type encoder struct {
	s     Serialization
	b     []byte
	start int // where in b the output begins
	late  []lateHead
	err   error // the first failure to encode a Go value
}

type lateHead struct {
	at, n int
	list  bool
}

func newEncoder(dst []byte, s Serialization) encoder {
	return encoder{s: s, b: dst, start: len(dst)}
}

// separate writes the comma that JSON wants between values. What was written last
// says if one is due: nothing but an opening bracket or a colon, outside of a
// string, ends in those characters.
func (e *encoder) separate() {
	if len(e.b) == e.start {
		return
	}
	switch e.b[len(e.b)-1] {
	case '[', '{', ':':
	default:
		e.b = append(e.b, ',')
	}
}

// raw writes a value that is encoded already.
func (e *encoder) raw(value []byte) {
	if e.s == JSON {
		e.separate()
	}
	e.b = append(e.b, value...)
}

func (e *encoder) null() {
	switch e.s {
	case JSON:
		e.separate()
		e.b = append(e.b, "null"...)
	case MsgPack:
		e.b = append(e.b, 0xc0)
	default:
		e.b = append(e.b, 0xf6)
	}
}

func (e *encoder) boolean(v bool) {
	bit := byte(0)
	if v {
		bit = 1
	}
	switch e.s {
	case JSON:
		e.separate()
		if v {
			e.b = append(e.b, "true"...)
		} else {
			e.b = append(e.b, "false"...)
		}
	case MsgPack:
		e.b = append(e.b, 0xc2|bit)
	default:
		e.b = append(e.b, 0xf4|bit)
	}
}

func (e *encoder) integer(neg bool, n uint64) {
	switch e.s {
	case JSON:
		e.separate()
		e.b = appendJSONInt(e.b, neg, n)
	case MsgPack:
		if neg && n > math.MaxInt64 {
			e.b = appendMsgPackString(e.b, appendJSONInt(nil, neg, n))
			return
		}
		e.b = appendMsgPackInt(e.b, neg, n)
	default:
		major := byte(cborUint)
		if neg {
			major = cborNegative
		}
		e.b = appendCBORHead(e.b, major, n)
	}
}

func (e *encoder) decimal(digits []byte) {
	switch e.s {
	case JSON:
		e.separate()
		e.b = append(e.b, digits...)
	case MsgPack:
		e.b = appendMsgPackString(e.b, digits)
	default:
		e.b = appendCBORDecimal(e.b, digits)
	}
}

func (e *encoder) float(f float64) {
	switch e.s {
	case JSON:
		e.separate()
		e.b = appendJSONFloat(e.b, f)
	case MsgPack:
		e.b = binary.BigEndian.AppendUint64(append(e.b, 0xcb), math.Float64bits(f))
	default:
		e.b = binary.BigEndian.AppendUint64(append(e.b, 0xfb), math.Float64bits(f))
	}
}

func (e *encoder) text(s []byte) {
	switch e.s {
	case JSON:
		e.separate()
		e.b = appendJSONString(e.b, s)
	case MsgPack:
		e.b = appendMsgPackString(e.b, s)
	default:
		e.b = appendCBORString(e.b, cborText, s)
	}
}

// str is text for Go strings.
func (e *encoder) str(s string) {
	switch e.s {
	case JSON:
		e.separate()
		e.b = appendJSONString(e.b, s)
	case MsgPack:
		e.b = appendMsgPackString(e.b, s)
	default:
		e.b = appendCBORString(e.b, cborText, s)
	}
}

func (e *encoder) binary(data []byte) {
	switch e.s {
	case JSON:
		e.separate()
		e.b = appendJSONBinary(e.b, data)
	case MsgPack:
		e.b = appendMsgPackBinary(e.b, data)
	default:
		e.b = appendCBORString(e.b, cborBinary, data)
	}
}

func (e *encoder) key(s []byte) {
	e.text(s)
	e.colon()
}

// strKey is key for Go strings.
func (e *encoder) strKey(s string) {
	e.str(s)
	e.colon()
}

func (e *encoder) colon() {
	if e.s == JSON {
		e.b = append(e.b, ':')
	}
}

func (e *encoder) openList(n int) int {
	if e.s == JSON {
		e.separate()
		e.b = append(e.b, '[')
		return -1
	}
	return e.head(n, true)
}

func (e *encoder) openMap(n int) int {
	if e.s == JSON {
		e.separate()
		e.b = append(e.b, '{')
		return -1
	}
	return e.head(n, false)
}

func (e *encoder) closeList(mark, n int) {
	if e.s == JSON {
		e.b = append(e.b, ']')
		return
	}
	e.patch(mark, n, true)
}

func (e *encoder) closeMap(mark, n int) {
	if e.s == JSON {
		e.b = append(e.b, '}')
		return
	}
	e.patch(mark, n, false)
}

// head writes the head of a list or map, or holds its place when n < 0 and returns
// where; -1 says that nothing is left to do.
func (e *encoder) head(n int, list bool) int {
	if n < 0 {
		e.b = append(e.b, 0)
		return len(e.b) - 1
	}
	e.b = e.appendHead(e.b, n, list)
	return -1
}

func (e *encoder) patch(mark, n int, list bool) {
	if mark < 0 {
		return
	}
	room := 24
	if e.s == MsgPack {
		room = 16
	}
	if n < room {
		e.appendHead(e.b[:mark], n, list)
		return
	}
	e.late = append(e.late, lateHead{at: mark, n: n, list: list})
}

func (e *encoder) appendHead(b []byte, n int, list bool) []byte {
	switch {
	case e.s == MsgPack && list:
		return appendMsgPackList(b, n)
	case e.s == MsgPack:
		return appendMsgPackMap(b, n)
	case list:
		return appendCBORHead(b, cborList, uint64(n))
	}
	return appendCBORHead(b, cborMap, uint64(n))
}

// finish returns dst with the output after it.
func (e *encoder) finish() []byte {
	if len(e.late) == 0 {
		return e.b
	}
	slices.SortFunc(e.late, func(a, b lateHead) int { return a.at - b.at })
	var buf [9]byte
	more := 0
	for _, h := range e.late {
		more += len(e.appendHead(buf[:0], h.n, h.list)) - 1
	}
	end := len(e.b)
	e.b = slices.Grow(e.b, more)[:end+more]
	to := len(e.b)
	for _, h := range slices.Backward(e.late) {
		to -= end - (h.at + 1)
		copy(e.b[to:], e.b[h.at+1:end])
		head := e.appendHead(buf[:0], h.n, h.list)
		to -= len(head)
		copy(e.b[to:], head)
		end = h.at
	}
	e.late = nil
	return e.b
}
