package session

import (
	"encoding/json"
	"strings"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/anybridge/anybridge/core"
)

// errorURIs is the table between WAMP's predefined URIs and anybridge's codes. A
// code is written as the first URI that stands for it; codes that are not here
// become anybridge.error.CODE, and are read back from it.
func errorURIs() []struct {
	URI  string
	Code core.Code
} {
	return []struct {
		URI  string
		Code core.Code
	}{
		{"wamp.error.no_such_procedure", core.NoSuchProcedure},
		{"wamp.error.not_authorized", core.Forbidden},
		{"wamp.error.authorization_failed", core.Forbidden},
		{"wamp.error.authorization_denied", core.Forbidden},
		{"wamp.error.option_disallowed.disclose_me", core.Forbidden},
		{"wamp.error.disclose_me.not_allowed", core.Forbidden},
		{"wamp.error.canceled", core.Canceled},
		{"wamp.error.timeout", core.Timeout},
		{"wamp.error.invalid_argument", core.InvalidArgument},
		{"wamp.error.invalid_uri", core.InvalidArgument},
		{"wamp.error.option_not_allowed", core.InvalidArgument},
		// "unavailable" is what a callee says that cannot take a call, and what a
		// dealer with several callees takes to another one (WAMP specification, "Call
		// Rerouting").
		{"wamp.error.unavailable", core.Unavailable},
		{"wamp.error.no_available_callee", core.Unavailable},
		{"wamp.error.no_eligible_callee", core.Unavailable},
		{"wamp.error.network_failure", core.Unavailable},
		{"wamp.close.system_shutdown", core.Unavailable},
		{"wamp.error.procedure_already_exists", core.AlreadyExists},
		{"wamp.error.procedure_exists_with_different_invocation_policy", core.AlreadyExists},
		{"wamp.error.no_such_registration", core.NotFound},
		{"wamp.error.no_such_subscription", core.NotFound},
		{"wamp.error.feature_not_supported", core.Unimplemented},
		{"wamp.error.payload_size_exceeded", core.TooLarge},
	}
}

// ownErrors is where the codes live that WAMP has no URI for.
const ownErrors = "anybridge.error."

// ownCodes are the codes that travel under ownErrors.
func ownCodes() []core.Code {
	return []core.Code{
		core.Unauthenticated, core.NoSuchBackend, core.CallbackForbidden, core.KeyReused,
		core.TooMany, core.Application, core.Internal, core.CallbackFailed,
	}
}

// errorTable is both directions of errorURIs, made once per session.
type errorTable struct {
	codes map[string]core.Code
	uris  map[core.Code]string
}

func newErrorTable() *errorTable {
	t := &errorTable{codes: map[string]core.Code{}, uris: map[core.Code]string{}}
	for _, row := range errorURIs() {
		t.codes[row.URI] = row.Code
		if t.uris[row.Code] == "" {
			t.uris[row.Code] = row.URI
		}
	}
	for _, code := range ownCodes() {
		uri := ownErrors + string(code)
		t.codes[uri], t.uris[code] = code, uri
	}
	return t
}

// read turns an ERROR into a *core.Error. URI and payload are always kept.
func (t *errorTable) read(m *wamp.Error) *core.Error {
	uri := string(m.Error)
	payload, err := readPayload(m, m.Arguments, m.ArgumentsKw)
	if err != nil {
		return core.Errorf(core.Internal, "read the payload of error %s: %w", uri, err)
	}
	code, known := t.codes[uri]
	if !known {
		code = core.Application
	}
	text := firstText(payload.Args)
	if code == core.Canceled && text == "callee gone" { // nexus' way of saying so
		code, text = core.Unavailable, "the callee has left"
	}
	if text == "" && code != core.Application {
		text = strings.ReplaceAll(string(code), "_", " ")
	}
	return &core.Error{Code: code, Message: clip(text), URI: uri, Payload: payload}
}

// write turns what an invocation ended with into the ERROR for it. An error with
// a URI keeps it, with args and kwargs; any other gets the URI of its code, and its
// message as args[0].
func (t *errorTable) write(request wamp.ID, err error) *wamp.Error {
	e := core.AsError(err)
	uri := e.URI
	if uri == "" || !validErrorURI(uri) {
		if uri = t.uris[e.Code]; uri == "" {
			uri = ownErrors + string(core.Internal)
		}
	}
	payload := e.Payload
	if checkDepth(payload) != nil {
		payload = core.Payload{}
	}
	if payload.Args == nil && payload.Kwargs == nil && e.Message != "" {
		payload.Args, _ = json.Marshal([]string{e.Message}) // strings always marshal
	}
	return &wamp.Error{
		Type: wamp.INVOCATION, Request: request, Details: wamp.Dict{}, Error: wamp.URI(uri),
		Arguments: wire.Opaque(newPayload(payload)),
	}
}

// validErrorURI reports whether routers will pass the URI on. Some of them end the
// session of a callee that sends another.
func validErrorURI(uri string) bool { return checkName("error", uri, core.Exact) == nil }

// firstText is args[0] if that is a string.
func firstText(args json.RawMessage) string {
	var list []json.RawMessage
	if len(args) > 1<<16 || json.Unmarshal(args, &list) != nil || len(list) == 0 {
		return ""
	}
	var text string
	if json.Unmarshal(list[0], &text) != nil {
		return ""
	}
	return text
}
