package redis

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/anybridge/anybridge/core"
)

// envelope is what the backend's own messages look like.
type envelope struct {
	payload core.Payload
	id      string // a hint: anybody may write it
	from    string // the instance of the bridge that published it
	via     string
}

// maxHint is the longest id, from and via that is believed to be one.
const maxHint = 256

// appendEnvelope appends the JSON object {"args": …, "kwargs": …, "id": …, …}.
func appendEnvelope(b []byte, e *envelope) []byte {
	switch {
	case e.payload.Args != nil:
		b = append(append(b, `{"args":`...), e.payload.Args...)
		if e.payload.Kwargs != nil {
			b = append(append(b, `,"kwargs":`...), e.payload.Kwargs...)
		}
	case e.payload.Kwargs != nil:
		b = append(append(b, `{"kwargs":`...), e.payload.Kwargs...)
	default:
		b = append(b, `{"args":null`...) // without it, it would be no envelope
	}
	for _, field := range [...]struct{ key, value string }{{"id", e.id}, {"from", e.from}, {"via", e.via}} {
		if field.value != "" {
			b = append(append(append(b, `,"`...), field.key...), `":`...)
			b = core.AppendString(b, field.value)
		}
	}
	return append(b, '}')
}

// parseEnvelope reads an envelope: a JSON object with args, a list, or kwargs, an
// object, and nothing beside them but id, from and via, which are strings.
func parseEnvelope(data []byte) (e envelope, ok bool) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return e, false
	}
	content := false
	for key, value := range fields {
		content = content || key == "args" || key == "kwargs"
		switch key {
		case "args":
			e.payload.Args, ok = shaped(value, '[')
		case "kwargs":
			e.payload.Kwargs, ok = shaped(value, '{')
		case "id":
			e.id, ok = hint(value)
		case "from":
			e.from, ok = hint(value)
		case "via":
			e.via, ok = hint(value)
		default:
			ok = false
		}
		if !ok {
			return envelope{}, false
		}
	}
	return e, content
}

// shaped returns the value if it begins with the bracket, and nil for null.
func shaped(value json.RawMessage, bracket byte) (json.RawMessage, bool) {
	if string(value) == "null" {
		return nil, true
	}
	return value, value[0] == bracket
}

// hint reads a string; one that is too long is none.
func hint(value json.RawMessage) (s string, ok bool) {
	if value[0] != '"' || json.Unmarshal(value, &s) != nil {
		return "", false
	}
	if len(s) > maxHint {
		s = ""
	}
	return s, true
}

// encode is the message that an event becomes on a channel.
func (f Format) encode(e *envelope) []byte {
	switch f {
	case FormatText:
		return []byte(e.payload.Text())
	case FormatJSON:
		if arg := onlyArg(e.payload); arg != nil {
			return arg
		}
		return []byte(e.payload.JSON())
	default:
		return appendEnvelope(make([]byte, 0, e.payload.Size()+128), e)
	}
}

// onlyArg is the payload's argument if it has but one.
func onlyArg(p core.Payload) json.RawMessage {
	var args []json.RawMessage
	if len(bytes.TrimSpace(p.Kwargs)) > 2 || json.Unmarshal(p.Args, &args) != nil || len(args) != 1 {
		return nil
	}
	return args[0]
}

// decode is what a message on a channel means. It never fails: what is nothing else
// is text. encoding names how the text is written, if that needs saying.
func (f Format) decode(data []byte, binary string) (e envelope, encoding string) {
	if !utf8.Valid(data) {
		if binary == "base64" {
			return envelope{payload: core.TextPayload(base64.StdEncoding.EncodeToString(data))}, "base64"
		}
		return envelope{payload: core.TextPayload(strings.ToValidUTF8(string(data), "\uFFFD"))}, ""
	}
	text := bytes.TrimSpace(data)
	if f == FormatText || len(text) == 0 || tooDeep(text) {
		return envelope{payload: core.TextPayload(string(data))}, ""
	}
	if text[0] == '{' {
		if e, ok := parseEnvelope(text); ok {
			return e, ""
		}
	}
	// A lone string or null is JSON for those who have asked for JSON only: for others
	// it is a text that happens to be in quotes.
	if f != FormatJSON && (text[0] == '"' || text[0] == 'n') || !json.Valid(text) {
		return envelope{payload: core.TextPayload(string(data))}, ""
	}
	args := make(json.RawMessage, 0, len(text)+2)
	return envelope{payload: core.Payload{Args: append(append(append(args, '['), text...), ']')}}, ""
}

// details tells the hints of a message.
func (e *envelope) details(encoding string) json.RawMessage {
	if e.from == "" && e.id == "" && encoding == "" {
		return nil
	}
	b := []byte{'{'}
	for _, field := range [...]struct{ key, value string }{{"publisher", e.from}, {"id", e.id}, {"encoding", encoding}} {
		if field.value == "" {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), field.key...), `":`...)
		b = core.AppendString(b, field.value)
	}
	return append(b, '}')
}

// maxDeep is how deep the JSON of others may be nested; deeper is text. It leaves room
// for what is wrapped around it until somebody decodes it.
const maxDeep = 1000

// checkPayload refuses what would come out as something else on the other side.
func checkPayload(p core.Payload) error {
	if tooDeep(p.Args) || tooDeep(p.Kwargs) {
		return core.Errorf(core.InvalidArgument, "lists and objects are nested more than %d deep", maxDeep)
	}
	return nil
}

func tooDeep(text []byte) bool {
	if bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) <= maxDeep {
		return false
	}
	depth, inString, escaped := 0, false, false
	for _, c := range text {
		switch {
		case escaped:
			escaped = false
		case inString:
			escaped, inString = c == '\\', c != '"'
		case c == '"':
			inString = true
		case c == '[' || c == '{':
			if depth++; depth > maxDeep {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}
