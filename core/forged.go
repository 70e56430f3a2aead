package core

import (
	"bytes"
	"encoding/json"
)

// publisherToken is the detail of an event that the bridge alone writes: the name of the
// token that published it through the bridge's REST API. See Caller for calls.
const publisherToken = "publisher_token"

// withoutForgery returns an event that came in, without the details that only the bridge
// may write. The event itself is not changed: others may have it, too.
func withoutForgery(e *Event) *Event {
	// A name can be written with escapes.
	if !bytes.Contains(e.Details, []byte(publisherToken)) && !bytes.ContainsRune(e.Details, '\\') {
		return e
	}
	var fields map[string]json.RawMessage
	malformed := json.Unmarshal(e.Details, &fields) != nil // a backend's mistake
	if _, forged := fields[publisherToken]; !forged && !malformed {
		return e
	}
	clean := *e
	delete(fields, publisherToken)
	clean.Details = nil
	if text, err := json.Marshal(fields); err == nil && !malformed {
		clean.Details = text
	}
	return &clean
}
