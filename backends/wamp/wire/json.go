package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// strictBase64 is base64 in its one canonical form, so that a decoded string can
// be written again exactly as it was.
var strictBase64 = base64.StdEncoding.Strict() //nolint:gochecknoglobals // immutable

func jsonKind(c byte) kind {
	switch c {
	case '{':
		return kindMap
	case '[':
		return kindList
	case '"':
		return kindString
	case 't', 'f':
		return kindBool
	case 'n':
		return kindNull
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return kindNumber
	}
	return kindOther
}

// space returns the index of the first byte from i that is not JSON whitespace.
func (p *parser) space(i int) int {
	for i < len(p.b) {
		switch p.b[i] {
		case ' ', '\t', '\n', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

// json parses a value as RFC 8259 defines it, with whitespace before it.
func (p *parser) json(i, depth int) (int, error) {
	i = p.space(i)
	if i >= len(p.b) {
		return i, p.truncated()
	}
	switch p.b[i] {
	case '{':
		return p.jsonMap(i, depth)
	case '[':
		return p.jsonList(i, depth)
	case '"':
		end, escaped, err := p.jsonString(i)
		if err == nil && p.out != nil {
			p.emitJSONString(p.jsonText(i, end, escaped))
		}
		return end, err
	case 't':
		return p.jsonWord(i, "true")
	case 'f':
		return p.jsonWord(i, "false")
	case 'n':
		return p.jsonWord(i, "null")
	}
	end, integer, err := p.jsonNumber(i)
	if err == nil && p.out != nil {
		p.emitJSONNumber(p.b[i:end], integer)
	}
	return end, err
}

func (p *parser) jsonList(i, depth int) (int, error) {
	if depth >= p.max {
		return i, p.tooDeep(i)
	}
	mark, n := 0, 0
	if p.out != nil {
		mark = p.out.openList(-1)
	}
	i = p.space(i + 1)
	if i < len(p.b) && p.b[i] == ']' {
		if p.out != nil {
			p.out.closeList(mark, 0)
		}
		return i + 1, nil
	}
	for {
		var err error
		if i, err = p.json(i, depth+1); err != nil {
			return i, err
		}
		n++
		i = p.space(i)
		if i >= len(p.b) {
			return i, p.truncated()
		}
		switch p.b[i] {
		case ',':
			i++
		case ']':
			if p.out != nil {
				p.out.closeList(mark, n)
			}
			return i + 1, nil
		default:
			return i, p.fail(i, "want , or ] after a list element")
		}
	}
}

func (p *parser) jsonMap(i, depth int) (int, error) {
	if depth >= p.max {
		return i, p.tooDeep(i)
	}
	mark, n := 0, 0
	if p.out != nil {
		mark = p.out.openMap(-1)
	}
	i = p.space(i + 1)
	if i < len(p.b) && p.b[i] == '}' {
		if p.out != nil {
			p.out.closeMap(mark, 0)
		}
		return i + 1, nil
	}
	for {
		i = p.space(i)
		if i >= len(p.b) {
			return i, p.truncated()
		}
		if p.b[i] != '"' {
			return i, p.fail(i, "want a string as map key")
		}
		end, escaped, err := p.jsonString(i)
		if err != nil {
			return end, err
		}
		if p.out != nil {
			p.out.key(p.jsonText(i, end, escaped))
		}
		i = p.space(end)
		if i >= len(p.b) {
			return i, p.truncated()
		}
		if p.b[i] != ':' {
			return i, p.fail(i, "want : after a map key")
		}
		if i, err = p.json(i+1, depth+1); err != nil {
			return i, err
		}
		n++
		i = p.space(i)
		if i >= len(p.b) {
			return i, p.truncated()
		}
		switch p.b[i] {
		case ',':
			i++
		case '}':
			if p.out != nil {
				p.out.closeMap(mark, n)
			}
			return i + 1, nil
		default:
			return i, p.fail(i, "want , or } after a map entry")
		}
	}
}

func (p *parser) jsonWord(i int, word string) (int, error) {
	if len(p.b)-i < len(word) || string(p.b[i:i+len(word)]) != word {
		return i, p.fail(i, "want "+word)
	}
	if p.out != nil {
		if word == "null" {
			p.out.null()
		} else {
			p.out.boolean(word == "true")
		}
	}
	return i + len(word), nil
}

// jsonString checks the string whose opening quote is at i.
func (p *parser) jsonString(i int) (end int, escaped bool, err error) {
	b := p.b
	open := i
	i++
	for {
		for len(b)-i >= 8 && plain(binary.LittleEndian.Uint64(b[i:])) {
			i += 8
		}
		if i >= len(b) {
			return i, false, p.fail(open, "string without an end")
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, escaped, nil
		case c == '\\':
			escaped = true
			n := escapeLen(b[i:])
			if n == 0 {
				return i, false, p.fail(i, "invalid escape in a string")
			}
			i += n
		case c < ' ':
			return i, false, p.fail(i, "control character in a string")
		case c < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n <= 1 {
				return i, false, p.fail(i, "invalid UTF-8")
			}
			i += n
		}
	}
}

// plain reports whether all eight bytes stand for themselves in a JSON string:
// none is a control character, a quote, a backslash or beyond ASCII. It may say
// no where the answer is yes, never the other way round.
func plain(w uint64) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	quote, slash := w^(ones*'"'), w^(ones*'\\')
	return (w|(w-ones*' ')|(quote-ones)|(slash-ones))&highs == 0
}

// escapeLen returns the length of the escape sequence that b begins with, 0 if it
// is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b[2:]); ok {
			return 6
		}
	}
	return 0
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// jsonText returns what the checked string from its opening quote at i to end
// stands for. The result may be in p.scratch.
func (p *parser) jsonText(i, end int, escaped bool) []byte {
	raw := p.b[i+1 : end-1]
	if !escaped {
		return raw
	}
	p.scratch = unescape(p.scratch[:0], raw)
	return p.scratch
}

// unescape appends the characters of a checked string. A surrogate without its
// other half becomes U+FFFD: no UTF-8 can hold it.
func unescape(dst, raw []byte) []byte {
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return append(dst, raw...)
		}
		dst = append(dst, raw[:i]...)
		switch c := raw[i+1]; c {
		case 'u':
			r, _ := hex4(raw[i+2:])
			raw = raw[i+6:]
			if utf16.IsSurrogate(r) {
				pair := rune(utf8.RuneError)
				if len(raw) >= 6 && raw[0] == '\\' && raw[1] == 'u' {
					low, _ := hex4(raw[2:])
					pair = utf16.DecodeRune(r, low)
				}
				if pair != utf8.RuneError {
					raw = raw[6:]
				}
				r = pair
			}
			dst = utf8.AppendRune(dst, r)
			continue
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		default:
			dst = append(dst, c)
		}
		raw = raw[i+2:]
	}
}

// emitJSONString tells a byte string from a text: a byte string is written as
// U+0000 and base64 (WAMP specification, "Binary conversion of JSON Strings").
func (p *parser) emitJSONString(s []byte) {
	if len(s) > 0 && s[0] == 0 && bytes.IndexByte(s, '\n') < 0 && bytes.IndexByte(s, '\r') < 0 {
		decoded, err := strictBase64.AppendDecode(p.decoded[:0], s[1:])
		if err == nil {
			p.decoded = decoded
			p.out.binary(decoded)
			return
		}
	}
	p.out.text(s)
}

// jsonNumber checks the number at i. It is an integer if it has neither fraction
// nor exponent.
func (p *parser) jsonNumber(i int) (end int, integer bool, err error) {
	b, start := p.b, i
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i >= len(b):
		return i, false, p.truncated()
	case b[i] == '0':
		i++
	case '1' <= b[i] && b[i] <= '9':
		i = digits(b, i)
	case i > start:
		return i, false, p.fail(i, "want a digit after the sign")
	default:
		return i, false, p.fail(i, "want a value")
	}
	integer = true
	if i < len(b) && b[i] == '.' {
		integer = false
		from := i + 1
		if i = digits(b, from); i == from {
			return i, false, p.fail(i, "want a digit after the decimal point")
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		integer = false
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		from := i
		if i = digits(b, from); i == from {
			return i, false, p.fail(i, "want a digit in the exponent")
		}
	}
	return i, integer, nil
}

func digits(b []byte, i int) int {
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	return i
}

func (p *parser) emitJSONNumber(lit []byte, integer bool) {
	if !integer {
		f, _ := strconv.ParseFloat(string(lit), 64)
		if math.IsInf(f, 0) {
			p.out.text(lit) // no double can hold it; its digits can be kept
			return
		}
		p.out.float(f)
		return
	}
	neg := lit[0] == '-'
	abs := lit
	if neg {
		abs = lit[1:]
	}
	n, ok := parseUint(abs)
	switch {
	case !ok:
		p.out.decimal(lit)
	case neg && n > 0:
		p.out.integer(true, n-1)
	default:
		p.out.integer(false, n)
	}
}

// parseUint reads decimal digits; false says that they exceed 64 bits.
func parseUint(b []byte) (uint64, bool) {
	if len(b) > 20 {
		return 0, false
	}
	var n uint64
	for i, c := range b {
		d := uint64(c - '0')
		if i == 19 && (n > math.MaxUint64/10 || n*10 > math.MaxUint64-d) {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

func appendJSONString[T string | []byte](b []byte, s T) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, '\\', 'b')
		case '\f':
			b = append(b, '\\', 'f')
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}

func appendJSONBinary(b, data []byte) []byte {
	b = append(b, `"\u0000`...)
	b = base64.StdEncoding.AppendEncode(b, data)
	return append(b, '"')
}

// appendJSONFloat writes the shortest digits that read back as f, and always as a
// fraction or with an exponent, so that a reader who tells floats from integers
// sees a float. JSON has no NaN and no infinities: they become null.
func appendJSONFloat(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, "null"...)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	start := len(b)
	b = strconv.AppendFloat(b, f, format, -1, 64)
	if format == 'f' && bytes.IndexByte(b[start:], '.') < 0 {
		b = append(b, '.', '0')
	}
	return b
}

// appendJSONInt writes n or, when neg, -1-n.
func appendJSONInt(b []byte, neg bool, n uint64) []byte {
	switch {
	case !neg:
		return strconv.AppendUint(b, n, 10)
	case n == math.MaxUint64:
		return append(b, "-18446744073709551616"...)
	}
	return strconv.AppendUint(append(b, '-'), n+1, 10)
}
