package kit

import (
	"bytes"
	"encoding/json"
	"slices"
	"unicode/utf8"

	"github.com/anybridge/anybridge/core"
)

// ReadPayload reads a message of a system that carries bytes alone: what Payload.JSON
// wrote, {"args": […], "kwargs": {…}}, is read back; any other JSON is the only argument;
// anything else is a text, see core.TextPayload.
func ReadPayload(message []byte) core.Payload {
	if !json.Valid(message) || !utf8.Valid(message) {
		return core.TextPayload(string(message))
	}
	var keys map[string]json.RawMessage
	if json.Unmarshal(message, &keys) == nil && keys != nil {
		p := core.Payload{Args: keys["args"], Kwargs: keys["kwargs"]}
		delete(keys, "args")
		delete(keys, "kwargs")
		if len(keys) == 0 && begins(p.Args, '[') && begins(p.Kwargs, '{') {
			return p
		}
	}
	return core.Payload{Args: slices.Concat([]byte("["), bytes.TrimSpace(message), []byte("]"))}
}

// begins reports whether a value begins like that, or is absent.
func begins(value json.RawMessage, with byte) bool { return value == nil || value[0] == with }
