package config

import (
	"bytes"
	"encoding/json"
)

// kind is what a node is, in JSON's terms.
type kind string

const (
	null    kind = "nothing"
	boolean kind = "true or false"
	number  kind = "a number"
	text    kind = "text"
	list    kind = "a list"
	object  kind = "a map"
)

// node is one value of the file with its place. Nodes are shared where the file
// uses an alias.
type node struct {
	kind         kind
	line, column int
	text         string  // of a scalar: text after expansion, or the JSON of a number or boolean
	variable     string  // the variable that alone made up the text, or ""
	items        []*node // of a list
	entries      []entry // of a map, in the order of the file, no key twice
	bad          bool    // not to be used: what is wrong with it is reported already
	size         int     // nodes below and including this one, aliases counted each time
}

// entry is one key of a map with its value.
type entry struct {
	key          string
	line, column int
	value        *node
}

// find returns the entry of a key, or nil.
func (n *node) find(key string) *entry {
	for i := range n.entries {
		if n.entries[i].key == key {
			return &n.entries[i]
		}
	}
	return nil
}

// raw is the node as JSON.
func (n *node) raw() json.RawMessage {
	var b bytes.Buffer
	n.json(&b)
	return b.Bytes()
}

// json appends the node to b as JSON. Numbers stay as they were written.
func (n *node) json(b *bytes.Buffer) {
	switch n.kind {
	case null:
		b.WriteString("null")
	case boolean, number:
		b.WriteString(n.text)
	case text:
		writeString(b, n.text)
	case list:
		b.WriteByte('[')
		for i, item := range n.items {
			if i > 0 {
				b.WriteByte(',')
			}
			item.json(b)
		}
		b.WriteByte(']')
	case object:
		b.WriteByte('{')
		for i, e := range n.entries {
			if i > 0 {
				b.WriteByte(',')
			}
			writeString(b, e.key)
			b.WriteByte(':')
			e.value.json(b)
		}
		b.WriteByte('}')
	}
}

func writeString(b *bytes.Buffer, s string) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string into memory: cannot fail
	b.Truncate(b.Len() - 1)
}
