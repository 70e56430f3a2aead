package stream

import (
	"encoding/xml"
	"unicode/utf8"
)

// Namespaces that streams themselves use.
const (
	nsClient  = "jabber:client"
	nsStream  = "http://etherx.jabber.org/streams"
	nsStreams = "urn:ietf:params:xml:ns:xmpp-streams"
	nsTLS     = "urn:ietf:params:xml:ns:xmpp-tls"
	nsSASL    = "urn:ietf:params:xml:ns:xmpp-sasl"
	nsSASLCB  = "urn:xmpp:sasl-cb:0"
	nsBind    = "urn:ietf:params:xml:ns:xmpp-bind"
	nsSession = "urn:ietf:params:xml:ns:xmpp-session"
	nsSM      = "urn:xmpp:sm:3"
	nsLimits  = "urn:xmpp:stream-limits:0"
	nsPing    = "urn:xmpp:ping"
	nsXML     = "http://www.w3.org/XML/1998/namespace"
)

// Element is a piece of XML. Names are the program's own or came out of a parser; text
// and attribute values may be anything: what XML cannot hold becomes U+FFFD when it is
// written.
type Element struct {
	Name     xml.Name // an empty Space is the parent's
	Attrs    []xml.Attr
	Children []*Element
	Text     string // all the text between the children
}

// E makes an element.
func E(space, local string, children ...*Element) *Element {
	return &Element{Name: xml.Name{Space: space, Local: local}, Children: children}
}

// T makes an element that holds text.
func T(space, local, text string) *Element {
	e := E(space, local)
	e.Text = text
	return e
}

// Set sets an attribute, or leaves it out if value is empty.
func (e *Element) Set(name, value string) *Element {
	if value != "" {
		e.Attrs = append(e.Attrs, xml.Attr{Name: xml.Name{Local: name}, Value: value})
	}
	return e
}

// Add appends children and returns e. Nil children are left out.
func (e *Element) Add(children ...*Element) *Element {
	for _, c := range children {
		if c != nil {
			e.Children = append(e.Children, c)
		}
	}
	return e
}

// Attr is the value of an attribute without a namespace. It is "" for a nil element.
func (e *Element) Attr(name string) string {
	if e != nil {
		for _, a := range e.Attrs {
			if a.Name.Local == name && a.Name.Space == "" {
				return a.Value
			}
		}
	}
	return ""
}

// Is reports whether the element has that name.
func (e *Element) Is(space, local string) bool {
	return e != nil && e.Name.Space == space && e.Name.Local == local
}

// Child is the first child of that name, or nil. An empty space stands for the parent's.
func (e *Element) Child(space, local string) *Element {
	if e == nil {
		return nil
	}
	if space == "" {
		space = e.Name.Space
	}
	for _, c := range e.Children {
		if c.Name.Local == local && c.Name.Space == space {
			return c
		}
	}
	return nil
}

// ChildText is the text of the first child of that name.
func (e *Element) ChildText(space, local string) string {
	if c := e.Child(space, local); c != nil {
		return c.Text
	}
	return ""
}

// Append writes the element behind b, where parent is the namespace in force.
func (e *Element) Append(b []byte, parent string) []byte {
	space := e.Name.Space
	if space == "" {
		space = parent
	}
	b = append(append(b, '<'), e.Name.Local...)
	if space != parent {
		b = append(appendEscaped(append(b, ` xmlns="`...), space), '"')
	}
	for _, a := range e.Attrs {
		switch a.Name.Space {
		case "":
			b = append(append(b, ' '), a.Name.Local...)
		case nsXML:
			b = append(append(b, " xml:"...), a.Name.Local...)
		default: // nothing of ours; what others wrote is told without it
			continue
		}
		b = append(appendEscaped(append(b, `="`...), a.Value), '"')
	}
	if e.Text == "" && len(e.Children) == 0 {
		return append(b, '/', '>')
	}
	b = appendEscaped(append(b, '>'), e.Text)
	for _, c := range e.Children {
		b = c.Append(b, space)
	}
	return append(append(append(b, '<', '/'), e.Name.Local...), '>')
}

// String is the element as XML.
func (e *Element) String() string { return string(e.Append(nil, "")) }

// Clean is the text as it arrives at the other end: what XML 1.0 cannot hold (control
// characters, halves of characters) is U+FFFD.
func Clean(s string) string {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if !allowed(r, n) {
			return string(clean([]byte(s[:i]), s[i:]))
		}
		i += n
	}
	return s
}

func clean(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if !allowed(r, n) {
			r = utf8.RuneError
		}
		b = utf8.AppendRune(b, r)
		i += n
	}
	return b
}

// allowed reports whether XML 1.0 may hold the character, which took n bytes.
func allowed(r rune, n int) bool {
	switch {
	case r == utf8.RuneError:
		return n > 1
	case r < ' ':
		return r == '\t' || r == '\n' || r == '\r'
	}
	return r != 0xFFFE && r != 0xFFFF
}

func appendEscaped(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case !allowed(r, n):
			b = utf8.AppendRune(b, utf8.RuneError)
		case r == '&':
			b = append(b, "&amp;"...)
		case r == '<':
			b = append(b, "&lt;"...)
		case r == '>':
			b = append(b, "&gt;"...)
		case r == '"':
			b = append(b, "&quot;"...)
		case r == '\'':
			b = append(b, "&apos;"...)
		case r == '\t':
			b = append(b, "&#x9;"...)
		case r == '\n':
			b = append(b, "&#xA;"...)
		case r == '\r':
			b = append(b, "&#xD;"...)
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return b
}
