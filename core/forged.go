package core

import (
	"bytes"
	"encoding/json"
)

// publisherToken is the detail of an event that the bridge alone writes: the name of the
// token that published it through the bridge's REST API. See Caller for calls.
const publisherToken = "publisher_token"

// withoutForgery takes out of the details of an event that came in what only the bridge
// may say.
func withoutForgery(details json.RawMessage) json.RawMessage {
	// A name can be written with escapes.
	if !bytes.Contains(details, []byte(publisherToken)) && !bytes.ContainsRune(details, '\\') {
		return details
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(details, &fields) != nil {
		return nil // no object: a backend's mistake
	}
	if _, forged := fields[publisherToken]; !forged {
		return details
	}
	delete(fields, publisherToken)
	text, err := json.Marshal(fields)
	if err != nil {
		return nil
	}
	return text
}
