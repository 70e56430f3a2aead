package xmpp

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/anybridge/anybridge/backends/xmpp/stream"
	"github.com/anybridge/anybridge/core"
)

// container is a payload as the JSON of XEP-0335.
type container struct {
	Args   json.RawMessage `json:"args,omitempty"`
	Kwargs json.RawMessage `json:"kwargs,omitempty"`

	Via string `json:"via,omitempty"` // the route that carries an event

	// Who calls, as the bridge knows it; only ever for the bridge itself.
	Token string `json:"caller_token,omitempty"`
	User  string `json:"caller_user,omitempty"`

	// What an error is, for other bridges.
	Code string `json:"code,omitempty"`
	URI  string `json:"uri,omitempty"`
}

// element is the container as XML. Args and kwargs keep their bytes.
func (c container) element() *stream.Element {
	b := []byte{'{'}
	add := func(key string, value []byte) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(append(b, '"'), key...), '"', ':'), value...)
	}
	for _, f := range []struct {
		key   string
		value json.RawMessage
	}{{"args", c.Args}, {"kwargs", c.Kwargs}} {
		if f.value != nil {
			add(f.key, f.value)
		}
	}
	for _, f := range []struct{ key, value string }{
		{"via", c.Via}, {"caller_token", c.Token}, {"caller_user", c.User}, {"code", c.Code}, {"uri", c.URI},
	} {
		if f.value == "" {
			continue
		}
		text, err := json.Marshal(f.value)
		if err != nil { // strings always have a JSON
			panic(err)
		}
		add(f.key, text)
	}
	return stream.T(nsJSON, "json", forXML(string(append(b, '}'))))
}

// forXML escapes in JSON's own way what JSON may hold and XML may not.
func forXML(text string) string {
	return strings.NewReplacer("\ufffe", `\ufffe`, "\uffff", `\uffff`).Replace(text)
}

// readContainer reads a container. It reports false for JSON that is not one.
func readContainer(text string) (container, bool) {
	var c container
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if d.Decode(&c) != nil || d.More() || !valid(&c.Args, '[') || !valid(&c.Kwargs, '{') {
		return container{}, false
	}
	const longestName = 256
	if len(c.Via) > longestName || len(c.URI) > 4*longestName {
		return container{}, false
	}
	return c, true
}

// valid reports whether the value begins as it should. JSON's null is nothing.
func valid(v *json.RawMessage, first byte) bool {
	if string(*v) == "null" {
		*v = nil
	}
	return *v == nil || (*v)[0] == first
}

func (c container) payload() core.Payload { return core.Payload{Args: c.Args, Kwargs: c.Kwargs} }

func contain(p core.Payload) container { return container{Args: p.Args, Kwargs: p.Kwargs} }

// envelope is what a message carries beside its text, or nil if the text says it all.
// Carriage returns do not survive every server.
func envelope(p core.Payload, via, text string) *stream.Element {
	plain := core.TextPayload(text)
	if via == "" && !strings.Contains(text, "\r") && len(p.Kwargs) == 0 && sameJSON(p.Args, plain.Args) {
		return nil
	}
	c := contain(p)
	c.Via = via
	return stream.E(nsOurs, "event", c.element())
}

func sameJSON(a, b json.RawMessage) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}

// messagePayload is what a message carries, and the route that carried it; false if it
// is no event.
func messagePayload(m *stream.Element) (core.Payload, string, bool) {
	if e := m.Child(nsOurs, "event").Child(nsJSON, "json"); e != nil {
		if c, ok := readContainer(e.Text); ok {
			return c.payload(), c.Via, true
		}
	}
	body := m.Child("", "body")
	if body == nil || body.Text == "" {
		return core.Payload{}, "", false
	}
	return core.TextPayload(body.Text), "", true
}

// itemPayload is what an item of a PubSub node carries: JSON, or the XML as text.
func itemPayload(item *stream.Element) (core.Payload, string) {
	if len(item.Children) == 0 {
		return core.Payload{}, ""
	}
	content := item.Children[0]
	if !content.Is(nsJSON, "json") || !json.Valid([]byte(content.Text)) || !utf8.ValidString(content.Text) {
		return core.TextPayload(content.String()), ""
	}
	if c, ok := readContainer(content.Text); ok {
		return c.payload(), c.Via
	}
	return anyPayload(content.Text), ""
}

// anyPayload makes a payload of any JSON: a list is the args, a map the kwargs, and
// anything else the only argument.
func anyPayload(text string) core.Payload {
	v := bytes.TrimSpace([]byte(text))
	switch v[0] {
	case '[':
		return core.Payload{Args: v}
	case '{':
		return core.Payload{Kwargs: v}
	}
	return core.Payload{Args: append(append([]byte{'['}, v...), ']')}
}
