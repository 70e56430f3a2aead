package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Code says what kind of thing went wrong. It is the one vocabulary of errors
// inside anybridge: each boundary (HTTP, gRPC, WAMP, exit codes) has one table
// that turns codes into its own terms.
type Code string

// The codes, with what the one who asked can do about each.
const (
	InvalidArgument   Code = "invalid_argument"     // mend the request
	Unauthenticated   Code = "unauthenticated"      // present a valid token
	Forbidden         Code = "forbidden"            // ask the operator for a scope
	NoSuchProcedure   Code = "no_such_procedure"    // register it, or mend the name
	NoSuchBackend     Code = "no_such_backend"      // mend the address
	NotFound          Code = "not_found"            // what was named does not exist
	AlreadyExists     Code = "already_exists"       // somebody else has it
	CallbackForbidden Code = "callback_not_allowed" // use another URL, or have it allowed
	KeyReused         Code = "idempotency_key_reused"
	TooLarge          Code = "too_large"         // send less
	TooMany           Code = "too_many_requests" // wait (RetryAfter), then try again
	Application       Code = "application_error" // the procedure itself raised it: see URI, Args, Kwargs
	Internal          Code = "internal"          // a bug in anybridge
	Unimplemented     Code = "unimplemented"     // this backend cannot do it
	CallbackFailed    Code = "callback_failed"   // the app behind the procedure answered wrongly or not at all
	Unavailable       Code = "unavailable"       // the backend is down: try again later
	Timeout           Code = "timeout"           // the deadline passed
	Canceled          Code = "canceled"          // the caller gave up
)

// Error is the one error type that crosses boundaries. Its values are immutable
// once they are shared.
type Error struct {
	Code    Code
	Message string // for people; never holds a secret

	// URI names an application error (Code Application), e.g. "com.shop.sold_out";
	// Args and Kwargs are what the procedure raised with it. For other codes URI
	// may name the protocol's own error, e.g. "wamp.error.no_such_procedure".
	URI string
	Payload

	// RetryAfter, if not zero, is how long to wait before trying again.
	RetryAfter time.Duration

	cause error
}

// Payload is what an event, a call, a result or an error carries: WAMP's
// positional and keyword arguments as raw JSON. Args is a JSON list and Kwargs a
// JSON object, or nil where there is none. Who makes a Payload vouches that both
// are valid JSON; nobody may change the bytes afterwards.
type Payload struct {
	Args   json.RawMessage
	Kwargs json.RawMessage
}

// Size is the number of payload bytes.
func (p Payload) Size() int { return len(p.Args) + len(p.Kwargs) }

// Errorf makes an Error. A %w in format becomes its cause.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), cause: errors.Unwrap(err)}
}

// Error is the message, preceded by the URI of an application error.
func (e *Error) Error() string {
	switch {
	case e.URI != "" && e.Message != "":
		return e.URI + ": " + e.Message
	case e.URI != "":
		return e.URI
	case e.Message != "":
		return e.Message
	}
	return string(e.Code)
}

// Unwrap returns the cause, if there is one.
func (e *Error) Unwrap() error { return e.cause }

// AsError returns err as an *Error: itself if it is or wraps one, Timeout or
// Canceled for a context's errors, and Internal for anything else. It returns nil
// for nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Code: Timeout, Message: "the deadline passed", cause: err}
	case errors.Is(err, context.Canceled):
		return &Error{Code: Canceled, Message: "the caller gave up", cause: err}
	}
	return &Error{Code: Internal, Message: err.Error(), cause: err}
}

// CodeOf is the code of AsError(err); it is empty for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	return AsError(err).Code
}
