package stream

import (
	"bufio"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"strings"
	"time"
)

// What one stanza may be, beside its bytes. Nothing that people or servers send comes
// near.
const (
	maxDepth    = 64
	maxElements = 20_000
	maxAttrs    = 100
)

// Errors of a stream that is not what RFC 6120 allows.
var (
	errTooLong    = errors.New("the server sent a stanza longer than max_receive")
	errTooDeep    = errors.New("the server sent a stanza that is nested too deeply or has too many parts")
	errRestricted = errors.New("the server sent XML that a stream must not contain")
	errClosed     = errors.New("the server closed the stream")
)

// reader takes a stream apart. What one piece costs is bounded.
type reader struct {
	meter *meter
	d     *xml.Decoder
	limit int
}

// meter counts the bytes of a piece.
type meter struct {
	r    *bufio.Reader
	left int
}

// ReadByte implements io.ByteReader: it is all that the decoder uses.
func (m *meter) ReadByte() (byte, error) {
	if m.left <= 0 {
		return 0, errTooLong
	}
	m.left--
	return m.r.ReadByte()
}

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, errTooLong
	}
	n, err := m.r.Read(p[:min(len(p), m.left)])
	m.left -= n
	return n, err
}

// idle is a connection that breaks off when nothing is heard for a while.
type idle struct {
	net.Conn
	wait time.Duration
}

func (c *idle) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.wait)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func newReader(src io.Reader, limit int) *reader {
	r := &reader{meter: &meter{r: bufio.NewReaderSize(src, 16<<10)}, limit: limit}
	r.restart()
	return r
}

// restart expects a new stream on the same connection.
func (r *reader) restart() {
	r.d = xml.NewDecoder(r.meter)
	r.meter.left = r.limit
}

// header reads the server's opening tag.
func (r *reader) header() error {
	r.meter.left = r.limit
	for {
		tok, err := r.d.Token()
		if err != nil {
			return err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if t.Name.Local != "stream" || t.Name.Space != nsStream {
				return errors.New("this is not an XMPP server")
			}
			return nil
		case xml.ProcInst:
			if t.Target != "xml" {
				return errRestricted
			}
		case xml.CharData:
			if strings.TrimSpace(string(t)) != "" {
				return errors.New("this is not an XMPP server")
			}
		default:
			return errRestricted
		}
	}
}

// next reads the next piece of the stream: a stanza, or what is in its place.
func (r *reader) next() (*Element, error) {
	r.meter.left = r.limit
	for {
		tok, err := r.d.Token()
		if err != nil {
			return nil, err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			return r.element(t)
		case xml.EndElement:
			return nil, errClosed
		case xml.CharData: // keeps the connection alive
			if strings.TrimSpace(string(t)) != "" {
				return nil, errRestricted
			}
		default:
			return nil, errRestricted
		}
	}
}

func (r *reader) element(start xml.StartElement) (*Element, error) {
	root, err := begin(start)
	if err != nil {
		return nil, err
	}
	open, texts := []*Element{root}, []*strings.Builder{{}}
	for elements := 1; len(open) > 0; {
		tok, err := r.d.Token()
		if err != nil {
			return nil, err
		}
		top := open[len(open)-1]
		switch t := tok.(type) {
		case xml.StartElement:
			e, err := begin(t)
			if err != nil {
				return nil, err
			}
			if elements++; elements > maxElements || len(open) >= maxDepth {
				return nil, errTooDeep
			}
			top.Children = append(top.Children, e)
			open, texts = append(open, e), append(texts, &strings.Builder{})
		case xml.EndElement:
			top.Text = texts[len(open)-1].String()
			open, texts = open[:len(open)-1], texts[:len(open)-1]
		case xml.CharData:
			texts[len(open)-1].Write(t)
		default:
			return nil, errRestricted
		}
	}
	return root, nil
}

func begin(t xml.StartElement) (*Element, error) {
	if len(t.Attr) > maxAttrs {
		return nil, errTooDeep
	}
	e := &Element{Name: t.Name}
	for _, a := range t.Attr {
		if a.Name.Space != "xmlns" && (a.Name.Space != "" || a.Name.Local != "xmlns") {
			if a.Name.Space == "xml" { // the decoder leaves this one prefix alone
				a.Name.Space = nsXML
			}
			e.Attrs = append(e.Attrs, a)
		}
	}
	return e, nil
}
