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
	b := append(x.out[:0], `{"type":"`+typePrefix...)
	b = append(b, e.Code...)
	b = append(b, `","title":`...)
	b = appendString(b, title)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(status), 10)
	if detail != "" {
		b = append(b, `,"detail":`...)
		b = appendString(b, detail)
	}
	if e.Code == core.Application {
		b = append(b, `,"error":`...)
		b = appendString(b, errorURI(e))
		b = append(b, ',')
		b = appendPayload(b, e.Args, e.Kwargs)
	}
	x.out = append(b, '}', '\n')
	if retry := e.RetryAfter; retry > 0 || e.Code == core.TooMany {
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
