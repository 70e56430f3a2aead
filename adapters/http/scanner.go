package rest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// scanner walks one JSON text (RFC 8259) in UTF-8 and checks it as it goes. What
// it hands out are slices of the text. Its methods stand before a value (spaces
// are skipped) and leave the position behind it.
type scanner struct {
	data     []byte
	pos      int
	depth    int
	maxDepth int
}

// syntaxError says that the text is not JSON.
type syntaxError struct {
	line, column int
	what         string
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("malformed JSON at line %d, column %d: %s", e.line, e.column, e.what)
}

func (s *scanner) fail(what string) error {
	before := s.data[:min(s.pos, len(s.data))]
	lineStart := bytes.LastIndexByte(before, '\n') + 1
	return &syntaxError{line: bytes.Count(before, []byte{'\n'}) + 1, column: len(before) - lineStart + 1, what: what}
}

// space moves to the next token and returns its first byte, or 0 at the end.
func (s *scanner) space() byte {
	for ; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// end checks that nothing follows the value.
func (s *scanner) end() error {
	if s.space(); s.pos < len(s.data) {
		return s.fail("there is more after the value")
	}
	return nil
}

// skip passes over one value of any kind.
func (s *scanner) skip() error {
	switch c := s.space(); {
	case c == '"':
		_, _, err := s.str()
		return err
	case c == '{':
		return s.members()
	case c == '[':
		return s.elements()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	case c == '-' || '0' <= c && c <= '9':
		return s.num()
	case s.pos >= len(s.data):
		return s.fail("a value is missing")
	default:
		return s.fail("a value is expected here")
	}
}

// raw passes over one value and returns its text.
func (s *scanner) raw() (json.RawMessage, error) {
	s.space()
	start := s.pos
	err := s.skip()
	return s.data[start:s.pos:s.pos], err
}

func (s *scanner) enter() error {
	s.pos++
	if s.depth++; s.depth > s.maxDepth {
		return s.fail(fmt.Sprintf("more than %d lists and objects inside each other", s.maxDepth))
	}
	return nil
}

func (s *scanner) leave() {
	s.pos++
	s.depth--
}

func (s *scanner) elements() error {
	if err := s.enter(); err != nil {
		return err
	}
	if s.space() == ']' {
		s.leave()
		return nil
	}
	for {
		if err := s.skip(); err != nil {
			return err
		}
		if more, err := s.separator(']'); !more {
			return err
		}
	}
}

func (s *scanner) members() error {
	if err := s.enter(); err != nil {
		return err
	}
	if s.space() == '}' {
		s.leave()
		return nil
	}
	for {
		if _, _, err := s.name(); err != nil {
			return err
		}
		if err := s.skip(); err != nil {
			return err
		}
		if more, err := s.separator('}'); !more {
			return err
		}
	}
}

// separator passes over what stands after an element: a comma (more), or the
// closing bracket.
func (s *scanner) separator(closing byte) (more bool, err error) {
	switch c := s.space(); c {
	case ',':
		s.pos++
		return true, nil
	case closing:
		s.leave()
		return false, nil
	case 0:
		return false, s.fail("the text ends before " + string(closing))
	default:
		return false, s.fail("a comma or " + string(closing) + " is expected here")
	}
}

// name passes over a member's name and its colon.
func (s *scanner) name() (inner []byte, escaped bool, err error) {
	if s.space() != '"' {
		return nil, false, s.fail("a name in double quotes is expected here")
	}
	if inner, escaped, err = s.str(); err != nil {
		return nil, false, err
	}
	if s.space() != ':' {
		return nil, false, s.fail("a colon is expected here")
	}
	s.pos++
	return inner, escaped, nil
}

// str passes over a string and returns what is between its quotes, and whether
// that holds escapes.
func (s *scanner) str() (inner []byte, escaped bool, err error) {
	s.pos++
	start := s.pos
	high := false
	for {
		s.plain()
		if s.pos >= len(s.data) {
			return nil, false, s.fail("the text ends inside a string")
		}
		switch c := s.data[s.pos]; {
		case c == '"':
			inner = s.data[start:s.pos:s.pos]
			if high && !utf8.Valid(inner) {
				s.pos = start
				return nil, false, s.fail("the string is not valid UTF-8")
			}
			s.pos++
			return inner, escaped, nil
		case c == '\\':
			escaped = true
			if err := s.escape(); err != nil {
				return nil, false, err
			}
		case c < ' ':
			return nil, false, s.fail("a control character must be escaped in a string")
		default:
			high = high || c >= utf8.RuneSelf
			s.pos++
		}
	}
}

// plain passes over eight bytes at a time while none of them is a quote, a
// backslash, a control character or beyond ASCII. It may stop early.
func (s *scanner) plain() {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for s.pos+8 <= len(s.data) {
		x := binary.LittleEndian.Uint64(s.data[s.pos:])
		if (x|(x-ones*' ')|((x^ones*'"')-ones)|((x^ones*'\\')-ones))&tops != 0 {
			return
		}
		s.pos += 8
	}
}

func (s *scanner) escape() error {
	if s.pos+1 >= len(s.data) {
		return s.fail("the text ends inside a string")
	}
	switch s.data[s.pos+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos += 2
		return nil
	case 'u':
		if s.pos+6 > len(s.data) {
			return s.fail("the text ends inside a string")
		}
		for _, c := range s.data[s.pos+2 : s.pos+6] {
			if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
				return s.fail(`\u needs four hexadecimal digits`)
			}
		}
		s.pos += 6
		return nil
	}
	return s.fail("there is no such escape")
}

func (s *scanner) literal(want string) error {
	if !bytes.HasPrefix(s.data[s.pos:], []byte(want)) {
		return s.fail("a value is expected here")
	}
	s.pos += len(want)
	return nil
}

func (s *scanner) num() error {
	if s.data[s.pos] == '-' {
		s.pos++
	}
	if s.pos < len(s.data) && s.data[s.pos] == '0' {
		s.pos++
	} else if !s.digits() {
		return s.fail("a digit is expected here")
	}
	if s.pos < len(s.data) && s.data[s.pos] == '.' {
		s.pos++
		if !s.digits() {
			return s.fail("a digit is expected here")
		}
	}
	if s.pos < len(s.data) && s.data[s.pos]|0x20 == 'e' {
		s.pos++
		if s.pos < len(s.data) && (s.data[s.pos] == '+' || s.data[s.pos] == '-') {
			s.pos++
		}
		if !s.digits() {
			return s.fail("a digit is expected here")
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}
