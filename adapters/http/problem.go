package rest

import (
	"log/slog"
	"strconv"
	"time"

	"github.com/anybridge/anybridge/core"
)

// typePrefix begins the type of every problem.
const typePrefix = "urn:anybridge:error:"

// errorPrefix begins the URI of an error that no procedure raised, where only a
// URI can be told.
const errorPrefix = "anybridge.error."

// problem answers with problem details (RFC 9457). What an Internal error says
// goes to the log and not to the client.
func (x *exchange) problem(err error) {
	e := core.AsError(err)
	status, title := statusOf(e.Code)
	detail := e.Message
	if e.Code == core.Internal {
		if e.Message != "" {
			x.f.o.Log.Error("internal error", slog.String("route", x.route.pattern), slog.Any("error", err))
		}
		detail = "something went wrong inside the bridge; its log tells more"
	}
	x.out = append(x.out[:0], `{"type":"`+typePrefix...)
	x.out = append(x.out, e.Code...)
	x.out = append(x.out, `","title":`...)
	x.out = core.AppendString(x.out, title)
	x.out = append(x.out, `,"status":`...)
	x.out = strconv.AppendInt(x.out, int64(status), 10)
	if detail != "" {
		x.out = append(x.out, `,"detail":`...)
		x.out = core.AppendString(x.out, detail)
	}
	if e.Code == core.Application {
		x.out = append(x.out, `,"error":`...)
		x.out = core.AppendString(x.out, errorURI(e))
		x.out = append(x.out, ',')
		x.out = appendPayload(x.out, e.Args, e.Kwargs)
	}
	x.out = append(x.out, '}', '\n')
	if retry := e.RetryAfter; retry > 0 || e.Code == core.TooMany { // a rate, a queue: waiting helps
		x.w.Header()["Retry-After"] = []string{retryAfterSeconds(retry)}
	}
	_ = x.reply(status, problemType)
}

// errorURI names an error for those who know only URIs.
func errorURI(e *core.Error) string {
	if e.URI != "" {
		return e.URI
	}
	return errorPrefix + string(e.Code)
}

// retryAfterSeconds is the value of Retry-After (RFC 9110, section 10.2.3): whole
// seconds, at least one.
func retryAfterSeconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}
