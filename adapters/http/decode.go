package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/anybridge/anybridge/core"
)

// placeError is a value that is JSON but not what belongs in its place.
type placeError struct {
	place string // e.g. `endpoints["com.shop.add"].timeout`
	what  string
}

func (e *placeError) Error() string {
	if e.place == "" {
		return e.what
	}
	return e.place + ": " + e.what
}

// at puts a place in front of the place of a placeError; other errors pass.
func at(place string, err error) error {
	var p *placeError
	if !errors.As(err, &p) {
		return err
	}
	switch {
	case p.place == "":
		p.place = place
	case p.place[0] == '[':
		p.place = place + p.place
	default:
		p.place = place + "." + p.place
	}
	return err
}

func wrong(what string) error { return &placeError{what: what} }

// invalid turns the errors of decoding into the one that the client sees.
func invalid(err error) error {
	var e *core.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return core.Errorf(core.InvalidArgument, "%w", err)
}

// object passes over an object and calls member before each value, with its
// decoded name. A name that comes twice is an error.
func (s *scanner) object(member func(key []byte) error) error {
	if s.space() != '{' {
		return s.unexpected("an object")
	}
	if err := s.enter(); err != nil {
		return err
	}
	if s.space() == '}' {
		s.leave()
		return nil
	}
	var names nameSet
	for {
		s.space()
		start := s.pos
		key, escaped, err := s.name()
		if err != nil {
			return err
		}
		if escaped {
			key = []byte(unescape(key))
		}
		if !names.add(key) {
			s.pos = start
			return s.fail("the name " + quote(string(key)) + " comes twice in one object")
		}
		if err := member(key); err != nil {
			return err
		}
		if more, err := s.separator('}'); !more {
			return err
		}
	}
}

// nameSet tells whether a name came before: by comparing, and from fewNames on
// through a map.
type nameSet struct {
	few  [fewNames][]byte
	n    int
	many map[string]struct{}
}

const fewNames = 12

func (n *nameSet) add(key []byte) bool {
	if n.many == nil {
		for _, other := range n.few[:n.n] {
			if bytes.Equal(other, key) {
				return false
			}
		}
		if n.n < fewNames {
			n.few[n.n] = key
			n.n++
			return true
		}
		n.many = make(map[string]struct{}, 2*fewNames)
		for _, other := range n.few {
			n.many[string(other)] = struct{}{}
		}
	}
	if _, had := n.many[string(key)]; had {
		return false
	}
	n.many[string(key)] = struct{}{}
	return true
}

// list passes over a list and calls element before each value.
func (s *scanner) list(element func(i int) error) error {
	if s.space() != '[' {
		return s.unexpected("a list")
	}
	if err := s.enter(); err != nil {
		return err
	}
	if s.space() == ']' {
		s.leave()
		return nil
	}
	for i := 0; ; i++ {
		if err := element(i); err != nil {
			return at("["+strconv.Itoa(i)+"]", err)
		}
		if more, err := s.separator(']'); !more {
			return err
		}
	}
}

// unexpected reports the value that stands where want belongs: as malformed, if
// it is.
func (s *scanner) unexpected(want string) error {
	kind := s.kind()
	if err := s.skip(); err != nil {
		return err
	}
	return wrong("want " + want + ", not " + kind)
}

func (s *scanner) kind() string {
	switch s.space() {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// null passes over a null and reports whether there was one. Fields that are null
// count as absent.
func (s *scanner) null() (bool, error) {
	if s.space() != 'n' {
		return false, nil
	}
	return true, s.literal("null")
}

// text reads a string.
func (s *scanner) text() (string, error) {
	if s.space() != '"' {
		return "", s.unexpected("a string")
	}
	inner, escaped, err := s.str()
	if err != nil || !escaped {
		return string(inner), err
	}
	return unescape(inner), nil
}

// boolean reads true or false.
func (s *scanner) boolean() (bool, error) {
	switch s.space() {
	case 't':
		return true, s.literal("true")
	case 'f':
		return false, s.literal("false")
	}
	return false, s.unexpected("true or false")
}

// number reads a number.
func (s *scanner) number() (float64, error) {
	if kind := s.kind(); kind != "a number" {
		return 0, s.unexpected("a number")
	}
	text, err := s.raw()
	if err != nil {
		return 0, err
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return 0, wrong("the number is out of range")
	}
	return f, nil
}

// id reads a whole number from 0 to 2^64-1.
func (s *scanner) id() (uint64, error) {
	if kind := s.kind(); kind != "a number" {
		return 0, s.unexpected("a whole number")
	}
	text, err := s.raw()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return 0, wrong("want a whole number that is not negative")
	}
	return n, nil
}

// duration reads a duration: a string such as "5s" or "1m30s", or a number of
// seconds.
func (s *scanner) duration() (time.Duration, error) {
	switch s.kind() {
	case "a string":
		text, err := s.text()
		if err != nil {
			return 0, err
		}
		d, err := time.ParseDuration(text)
		if err != nil {
			return 0, wrong(`want a duration such as "5s" or "1m30s", or a number of seconds`)
		}
		return d, nil
	case "a number":
		seconds, err := s.number()
		if err != nil {
			return 0, err
		}
		const most = float64(1<<63-1) / float64(time.Second)
		if seconds > most || seconds < -most {
			return 0, wrong("the duration is out of range")
		}
		return time.Duration(seconds * float64(time.Second)), nil
	}
	return 0, s.unexpected(`a duration such as "5s" or a number of seconds`)
}

// args reads a list as raw JSON.
func (s *scanner) args() (json.RawMessage, error) {
	if null, err := s.null(); null {
		return nil, err
	}
	if s.space() != '[' {
		return nil, s.unexpected("a list")
	}
	return s.raw()
}

// kwargs reads an object as raw JSON. Like keyword arguments everywhere, its names
// come once each.
func (s *scanner) kwargs() (json.RawMessage, error) {
	if null, err := s.null(); null {
		return nil, err
	}
	s.space()
	start := s.pos
	err := s.object(func([]byte) error { return s.skip() })
	return s.data[start:s.pos:s.pos], err
}

// unescape decodes the inside of a JSON string that was found valid.
func unescape(inner []byte) string {
	var text string
	_ = json.Unmarshal(append(append([]byte{'"'}, inner...), '"'), &text)
	return text
}

// quote shows a client's text in a message: shortened, without control characters.
func quote(text string) string {
	const most = 80
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return strconv.Quote(text)
}

// unknownFields collects the fields that do not exist, to report them all.
type unknownFields []string

func (u *unknownFields) add(s *scanner, key []byte) error {
	const most = 10
	if len(*u) < most {
		*u = append(*u, string(key))
	}
	return s.skip()
}

func (u unknownFields) err(known ...string) error {
	if len(u) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString("unknown field")
	if len(u) > 1 {
		b.WriteByte('s')
	}
	for i, name := range u {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(" " + quote(name))
		if near := core.Nearest(name, known); near != "" {
			b.WriteString(" (did you mean " + strconv.Quote(near) + "?)")
		}
	}
	b.WriteString("; the fields are " + strings.Join(known, ", "))
	return wrong(b.String())
}
