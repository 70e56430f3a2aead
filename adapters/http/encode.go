package rest

import "encoding/json"

// appendPayload appends `"args":…,"kwargs":…`; what is absent is empty.
func appendPayload(b []byte, args, kwargs json.RawMessage) []byte {
	b = append(b, `"args":`...)
	if len(args) == 0 {
		b = append(b, "[]"...)
	} else {
		b = append(b, args...)
	}
	b = append(b, `,"kwargs":`...)
	return appendObject(b, kwargs)
}

// appendObject appends a raw object, or {} if it is absent.
func appendObject(b []byte, raw json.RawMessage) []byte {
	if len(raw) == 0 {
		return append(b, "{}"...)
	}
	return append(b, raw...)
}
