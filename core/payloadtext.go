package core

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Text is the payload as people read it, for systems that carry text alone:
//
//   - kwargs with nothing beside a string "text": that string
//   - args of strings, numbers, booleans and null alone, without kwargs: their texts,
//     with a space between
//   - one argument that is a list or an object, without kwargs: its JSON
//   - anything else: the JSON object {"args": …, "kwargs": …}
//
// No payload is the empty text.
func (p Payload) Text() string {
	args, kwargs := p.values()
	switch {
	case len(args) == 0 && len(kwargs) == 0:
		return ""
	case len(args) == 0 && len(kwargs) == 1 && isString(kwargs["text"]):
		return scalarText(kwargs["text"])
	case len(kwargs) == 0 && allScalars(args):
		texts := make([]string, len(args))
		for i, arg := range args {
			texts[i] = scalarText(arg)
		}
		return strings.Join(texts, " ")
	case len(kwargs) == 0 && len(args) == 1:
		return compact(args[0])
	}
	return p.JSON()
}

// JSON is the payload as one JSON object: {"args": …, "kwargs": …}, without what is
// absent.
func (p Payload) JSON() string {
	b := []byte{'{'}
	if p.Args != nil {
		b = append(append(b, `"args":`...), compact(p.Args)...)
	}
	if p.Kwargs != nil {
		if p.Args != nil {
			b = append(b, ',')
		}
		b = append(append(b, `"kwargs":`...), compact(p.Kwargs)...)
	}
	return string(append(b, '}'))
}

// TextPayload is what a message of a system that carries text alone becomes: the text
// as the only argument. Bytes that are not UTF-8 become U+FFFD.
func TextPayload(text string) Payload {
	b, err := json.Marshal([]string{text})
	if err != nil { // strings always have a JSON
		panic(err)
	}
	return Payload{Args: b}
}

func (p Payload) values() (args []json.RawMessage, kwargs map[string]json.RawMessage) {
	_ = json.Unmarshal(p.Args, &args) // both are valid, or absent
	_ = json.Unmarshal(p.Kwargs, &kwargs)
	return args, kwargs
}

func isString(v json.RawMessage) bool { return len(v) > 0 && v[0] == '"' }

func allScalars(values []json.RawMessage) bool {
	for _, v := range values {
		if v[0] == '[' || v[0] == '{' {
			return false
		}
	}
	return true
}

func scalarText(v json.RawMessage) string {
	var s string
	if isString(v) && json.Unmarshal(v, &s) == nil {
		return s
	}
	return string(v)
}

func compact(v json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, v) != nil {
		return string(v)
	}
	return b.String()
}
