package irc

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/anybridge/anybridge/core"
)

// parseArguments reads what follows a command:
//
//	Paris "New York" 3 unit=c note="two words"
//
// Words are separated by spaces. A word that is a JSON number, true, false or null
// is that value, any other a string. In double quotes everything is a string; \" and
// \\ stand for themselves. KEY=VALUE, with a KEY of letters, digits, _, - and . that
// begins with a letter or _, is a keyword argument; of two with the same key the
// later one counts.
func parseArguments(text string) (core.Payload, error) {
	args, kwargs := []json.RawMessage{}, map[string]json.RawMessage{}
	for {
		text = strings.TrimLeft(text, " ")
		if text == "" {
			break
		}
		key := keyOf(text)
		if key != "" {
			text = text[len(key)+1:]
		}
		value, rest, err := parseWord(text)
		if err != nil {
			return core.Payload{}, err
		}
		text = rest
		if key != "" {
			kwargs[key] = value
		} else {
			args = append(args, value)
		}
	}
	var p core.Payload
	p.Args, _ = json.Marshal(args) // values are valid JSON
	if len(kwargs) > 0 {
		p.Kwargs, _ = json.Marshal(kwargs)
	}
	return p, nil
}

// keyOf is the key that the text begins with, or "".
func keyOf(text string) string {
	for i := range len(text) {
		c := text[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		switch {
		case c == '=':
			return text[:i]
		case letter, i > 0 && (c >= '0' && c <= '9' || c == '-' || c == '.'):
		default:
			return ""
		}
	}
	return ""
}

func parseWord(text string) (value json.RawMessage, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		word, rest, _ := strings.Cut(text, " ")
		if isScalar(word) {
			return json.RawMessage(word), rest, nil
		}
		return quote(word), rest, nil
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text) && (text[i+1] == '"' || text[i+1] == '\\'):
			i++
			b.WriteByte(text[i])
		case c == '"':
			return quote(b.String()), text[i+1:], nil
		default:
			b.WriteByte(c)
		}
	}
	return nil, "", errors.New("a quotation mark is not closed")
}

// isScalar reports whether the word is a JSON number, true, false or null.
func isScalar(word string) bool {
	return word != "" && strings.IndexByte(`"[{`, word[0]) < 0 && json.Valid([]byte(word))
}

func quote(s string) json.RawMessage {
	b, _ := json.Marshal(s) // strings always have a JSON
	return b
}
