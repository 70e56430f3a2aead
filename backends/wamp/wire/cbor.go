package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
)

// Major types of RFC 8949, section 3.1.
const (
	cborUint = iota
	cborNegative
	cborBinary
	cborText
	cborList
	cborMap
	cborTag
	cborSimple
)

const (
	cborBreak      = 0xff
	cborIndefinite = 31

	// A bignum takes time that grows with the square of its length to turn into
	// decimal digits and back. Beyond these sizes it crosses as text instead, which
	// loses nothing; CPython by default refuses to read 4,300 digits already.
	maxBignumDigits = 16_384
	maxBignumBytes  = 6_800
)

func cborKind(c byte) kind {
	switch c >> 5 {
	case cborUint, cborNegative:
		return kindNumber
	case cborBinary:
		return kindBinary
	case cborText:
		return kindString
	case cborList:
		return kindList
	case cborMap:
		return kindMap
	case cborSimple:
		switch c & 31 {
		case 20, 21:
			return kindBool
		case 22, 23:
			return kindNull
		case 25, 26, 27:
			return kindNumber
		}
	}
	return kindOther
}

// cborHead is the head of a data item: its argument is a value, a length or the
// bits of a float.
type cborHead struct {
	major byte
	info  byte
	arg   uint64
}

func (h cborHead) indefinite() bool { return h.info == cborIndefinite }

// head reads the head at i and returns the index past it.
func (p *parser) head(i int) (cborHead, int, error) {
	if i >= len(p.b) {
		return cborHead{}, i, p.truncated()
	}
	c := p.b[i]
	h := cborHead{major: c >> 5, info: c & 31}
	switch {
	case h.info < 24:
		h.arg = uint64(h.info)
		return h, i + 1, nil
	case h.info <= 27:
		size := 1 << (h.info - 24)
		var ok bool
		if h.arg, ok = p.bigEndian(i+1, size); !ok {
			return h, i, p.truncated()
		}
		return h, i + 1 + size, nil
	case h.info == cborIndefinite && h.major >= cborBinary && h.major <= cborMap:
		return h, i + 1, nil
	case c == cborBreak:
		return h, i, p.fail(i, "break outside of an indefinite-length item")
	}
	return h, i, p.fail(i, fmt.Sprintf("invalid byte 0x%02x", c))
}

// cbor parses a value as RFC 8949 defines it. Tags are dropped, except for those
// of bignums, which are integers.
func (p *parser) cbor(i, depth int) (int, error) {
	at := i
	h, i, err := p.head(i)
	for err == nil && h.major == cborTag {
		if h.arg == 2 || h.arg == 3 {
			if is, end, err := p.bignum(i, h.arg == 3); is || err != nil {
				return end, err
			}
		}
		at = i
		h, i, err = p.head(i)
	}
	if err != nil {
		return i, err
	}
	switch h.major {
	case cborUint, cborNegative:
		if p.out != nil {
			p.out.integer(h.major == cborNegative, h.arg)
		}
		return i, nil
	case cborBinary, cborText:
		s, end, err := p.cborString(at, i, h, p.out != nil)
		if err == nil && p.out != nil {
			if h.major == cborText {
				p.out.text(s)
			} else {
				p.out.binary(s)
			}
		}
		return end, err
	case cborList:
		return p.cborList(at, i, depth, h)
	case cborMap:
		return p.cborMap(at, i, depth, h)
	}
	return p.cborSimple(at, i, h)
}

// cborSimple takes floats, booleans and null. Undefined and the simple values that
// have no meaning (yet) are null.
func (p *parser) cborSimple(at, i int, h cborHead) (int, error) {
	if h.info == 24 && h.arg < 32 {
		return at, p.fail(at, "simple value in two bytes that fits into one")
	}
	if p.out == nil {
		return i, nil
	}
	switch h.info {
	case 20, 21:
		p.out.boolean(h.info == 21)
	case 25:
		p.out.float(float16(uint16(h.arg)))
	case 26:
		p.out.float(floatOf(h.arg, 4))
	case 27:
		p.out.float(floatOf(h.arg, 8))
	default:
		p.out.null()
	}
	return i, nil
}

// cborString returns the content of a string. Chunks are put together in p.scratch,
// unless keep says that nobody wants them.
func (p *parser) cborString(at, i int, h cborHead, keep bool) (s []byte, end int, err error) {
	if !h.indefinite() {
		return p.cborChunk(at, i, h)
	}
	p.scratch = p.scratch[:0]
	for {
		if i < len(p.b) && p.b[i] == cborBreak {
			return p.scratch, i + 1, nil
		}
		at := i
		chunk, i2, err := p.head(i)
		if err != nil {
			return nil, i2, err
		}
		if chunk.major != h.major || chunk.indefinite() {
			return nil, at, p.fail(at, "chunk of another type in an indefinite-length string")
		}
		if s, i, err = p.cborChunk(at, i2, chunk); err != nil {
			return nil, i, err
		}
		if keep {
			p.scratch = append(p.scratch, s...)
		}
	}
}

func (p *parser) cborChunk(at, i int, h cborHead) (s []byte, end int, err error) {
	if err := p.claim(at, i, h.arg, 1); err != nil {
		return nil, at, err
	}
	end = i + int(h.arg)
	if h.major == cborText {
		if err := p.utf8(i, end); err != nil {
			return nil, at, err
		}
	}
	return p.b[i:end], end, nil
}

func (p *parser) cborList(at, i, depth int, h cborHead) (int, error) {
	if depth >= p.max {
		return at, p.tooDeep(at)
	}
	count, err := p.cborCount(at, i, h, 1)
	if err != nil {
		return at, err
	}
	mark := 0
	if p.out != nil {
		mark = p.out.openList(count)
	}
	n := 0
	for ; n != count; n++ {
		if count < 0 && i < len(p.b) && p.b[i] == cborBreak {
			i++
			break
		}
		if i, err = p.cbor(i, depth+1); err != nil {
			return i, err
		}
	}
	if p.out != nil {
		p.out.closeList(mark, n)
	}
	return i, nil
}

func (p *parser) cborMap(at, i, depth int, h cborHead) (int, error) {
	if depth >= p.max {
		return at, p.tooDeep(at)
	}
	count, err := p.cborCount(at, i, h, 2)
	if err != nil {
		return at, err
	}
	mark := 0
	if p.out != nil {
		mark = p.out.openMap(count)
	}
	n := 0
	for ; n != count; n++ {
		if count < 0 && i < len(p.b) && p.b[i] == cborBreak {
			i++
			break
		}
		if i, err = p.cborKey(i); err != nil {
			return i, err
		}
		if i, err = p.cbor(i, depth+1); err != nil {
			return i, err
		}
	}
	if p.out != nil {
		p.out.closeMap(mark, n)
	}
	return i, nil
}

// cborCount returns the number of elements or entries, of at least size bytes
// each, or -1 if a break ends them.
func (p *parser) cborCount(at, i int, h cborHead, size int) (int, error) {
	if h.indefinite() {
		return -1, nil
	}
	if err := p.claim(at, i, h.arg, size); err != nil {
		return 0, err
	}
	return int(h.arg), nil
}

// cborKey parses a map key: a string, or an integer, which becomes its decimal
// digits (WAMP dictionaries have string keys only).
func (p *parser) cborKey(i int) (int, error) {
	at := i
	h, i, err := p.head(i)
	for err == nil && h.major == cborTag {
		at = i
		h, i, err = p.head(i)
	}
	if err != nil {
		return i, err
	}
	switch h.major {
	case cborUint, cborNegative:
		if p.out != nil {
			p.scratch = appendJSONInt(p.scratch[:0], h.major == cborNegative, h.arg)
			p.out.key(p.scratch)
		}
		return i, nil
	case cborText:
		s, end, err := p.cborString(at, i, h, p.out != nil)
		if err == nil && p.out != nil {
			p.out.key(s)
		}
		return end, err
	}
	return at, p.fail(at, fmt.Sprintf("want a string or an integer as map key, have %v", cborKind(p.b[at])))
}

// bignum parses the content of tag 2 or 3. It is none, and left to be parsed as it
// is, if it is no byte string.
func (p *parser) bignum(i int, neg bool) (is bool, end int, err error) {
	at := i
	h, i, err := p.head(i)
	if err != nil {
		return false, i, err
	}
	if h.major != cborBinary {
		return false, at, nil
	}
	mag, end, err := p.cborString(at, i, h, p.out != nil)
	if err != nil || p.out == nil {
		return true, end, err
	}
	for len(mag) > 0 && mag[0] == 0 {
		mag = mag[1:]
	}
	if len(mag) <= 8 {
		var n uint64
		for _, c := range mag {
			n = n<<8 | uint64(c)
		}
		p.out.integer(neg, n)
		return true, end, nil
	}
	v := new(big.Int).SetBytes(mag)
	if neg {
		v.Not(v)
	}
	if len(mag) > maxBignumBytes {
		p.out.text(fmt.Appendf(nil, "%#x", v))
	} else {
		p.out.decimal(v.Append(nil, 10))
	}
	return true, end, nil
}

// float16 widens a half-precision float (RFC 8949, appendix D).
func float16(h uint16) float64 {
	exp, mant := int(h>>10&0x1f), float64(h&0x3ff)
	var f float64
	switch exp {
	case 0:
		f = math.Ldexp(mant, -24)
	case 31:
		f = math.Inf(1)
		if mant != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(mant+1024, exp-25)
	}
	if h&0x8000 != 0 {
		f = math.Copysign(f, -1)
	}
	return f
}

// appendCBORHead writes a head in its shortest form.
func appendCBORHead(b []byte, major byte, arg uint64) []byte {
	major <<= 5
	switch {
	case arg < 24:
		return append(b, major|byte(arg))
	case arg <= math.MaxUint8:
		return append(b, major|24, byte(arg))
	case arg <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(arg))
	case arg <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(arg))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), arg)
}

func appendCBORString[T string | []byte](b []byte, major byte, s T) []byte {
	return append(appendCBORHead(b, major, uint64(len(s))), s...)
}

// appendCBORDecimal writes an integer literal as an integer if it fits into 64
// bits, else as a bignum, or as text if it is too long to be one.
func appendCBORDecimal(b, digits []byte) []byte {
	if len(digits) > maxBignumDigits {
		return appendCBORString(b, cborText, digits)
	}
	v, ok := new(big.Int).SetString(string(digits), 10)
	if !ok {
		return appendCBORString(b, cborText, digits)
	}
	major, tag := byte(cborUint), uint64(2)
	if v.Sign() < 0 {
		v.Not(v)
		major, tag = cborNegative, 3
	}
	if v.IsUint64() {
		return appendCBORHead(b, major, v.Uint64())
	}
	return appendCBORString(appendCBORHead(b, cborTag, tag), cborBinary, v.Bytes())
}
