package xmpp

import (
	"time"

	"github.com/anybridge/anybridge/backends/xmpp/stream"
	"github.com/anybridge/anybridge/core"
)

// conditionCodes says what a stanza error (RFC 6120, 8.3.3) means to who published or
// subscribed. Calls differ in what callConditions holds.
func conditionCode(condition string) core.Code {
	switch condition {
	case "bad-request", "jid-malformed", "unexpected-request", "redirect":
		return core.InvalidArgument
	case "forbidden", "not-allowed", "not-authorized", "payment-required", "policy-violation", "registration-required", "subscription-required":
		return core.Forbidden
	case "item-not-found", "gone", "remote-server-not-found":
		return core.NotFound
	case "conflict":
		return core.AlreadyExists
	case "feature-not-implemented":
		return core.Unimplemented
	case "remote-server-timeout":
		return core.Timeout
	case "resource-constraint":
		return core.TooMany
	}
	return core.Unavailable // service-unavailable, recipient-unavailable, not-acceptable …
}

// codeCondition is the way back, for answers to calls: a condition and the error's type.
func codeCondition(code core.Code) (condition, kind string) {
	switch code {
	case core.InvalidArgument, core.TooLarge:
		return "bad-request", "modify"
	case core.Forbidden, core.Unauthenticated, core.CallbackForbidden:
		return "forbidden", "auth"
	case core.NoSuchProcedure, core.NotFound, core.NoSuchBackend:
		return "item-not-found", "cancel"
	case core.AlreadyExists, core.KeyReused:
		return "conflict", "cancel"
	case core.Unimplemented:
		return "feature-not-implemented", "cancel"
	case core.Timeout:
		return "remote-server-timeout", "wait"
	case core.TooMany:
		return "resource-constraint", "wait"
	case core.Unavailable:
		return "recipient-unavailable", "wait"
	case core.Application, core.Canceled:
		return "undefined-condition", "cancel"
	case core.Internal, core.CallbackFailed:
	}
	return "internal-server-error", "cancel"
}

// condition is the defined condition of a stanza of type error, and its text.
func condition(stanza *stream.Element) (name, text string) {
	e := stanza.Child("", "error")
	name = "undefined-condition"
	if e == nil {
		return name, ""
	}
	for _, c := range e.Children {
		if c.Name.Space == nsStanzas && c.Name.Local != "text" {
			name = c.Name.Local
			break
		}
	}
	return name, stream.Clean(e.ChildText(nsStanzas, "text"))
}

// stanzaError turns a stanza of type error into an error; what is what was asked.
func stanzaError(stanza *stream.Element, what string) *core.Error {
	name, text := condition(stanza)
	return makeError(conditionCode(name), name, what, text)
}

func makeError(code core.Code, name, what, text string) *core.Error {
	message := what + ": " + shorten(name, 100)
	if text != "" {
		message += " (" + shorten(text, 500) + ")"
	}
	err := core.Errorf(code, "%s", message)
	err.URI = "xmpp.error." + shorten(name, 100)
	if code == core.TooMany {
		err.RetryAfter = 5 * time.Second
	}
	return err
}

func shorten(s string, most int) string {
	if len(s) > most {
		return stream.Clean(s[:most]) + "…"
	}
	return s
}

// errorStanza answers a request with an error.
func errorStanza(request *stream.Element, condition, kind, text string, more ...*stream.Element) *stream.Element {
	e := stream.E(nsClient, "error", stream.E(nsStanzas, condition)).Set("type", kind)
	if text != "" {
		e.Add(stream.T(nsStanzas, "text", text))
	}
	e.Add(more...)
	return reply(request, "error", e)
}

// reply answers a request.
func reply(request *stream.Element, kind string, payload ...*stream.Element) *stream.Element {
	return stream.E(nsClient, "iq").Add(payload...).
		Set("type", kind).Set("id", request.Attr("id")).Set("to", request.Attr("from"))
}
