package rest

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// Send implements engine.Sender: one attempt at an event or a result.
func (c *Callbacks) Send(ctx context.Context, a *engine.Attempt) engine.Outcome {
	start := time.Now()
	var kind callbackKind
	var body []byte
	if a.Event != nil {
		kind, body = kindEvent, c.eventBody(a.Event)
	} else {
		kind, body = kindResult, c.resultBody(a.Result)
	}
	answer, err := c.post(ctx, a.Endpoint, a.ID, body, true)
	out := c.outcome(ctx, answer, err, a.Endpoint)
	out.Latency = time.Since(start)
	c.metrics.observe(kind, sentOutcome(&out, err), out.Latency)
	return out
}

// outcome reads the answer to an event or a result.
func (c *Callbacks) outcome(ctx context.Context, answer *reply, err error, e *core.Endpoint) engine.Outcome {
	switch {
	case errors.Is(err, errBusy), errors.Is(err, errProxy), err != nil && ctx.Err() != nil:
		return engine.Outcome{Ours: true, Err: core.Errorf(core.Unavailable, "not sent: %s", reason(err))}
	case errors.Is(err, errDeadline):
		return engine.Outcome{Err: core.Errorf(core.Timeout, "no answer within %s", c.timeout(e))}
	case core.CodeOf(err) == core.CallbackForbidden:
		return engine.Outcome{Err: err}
	case errors.Is(err, errForbidden), errors.Is(err, errProxyForbids):
		return engine.Outcome{Err: core.Errorf(core.CallbackForbidden, "the address of the callback URL is not allowed")}
	case errors.Is(err, errTooLong), errors.Is(err, errGzip):
		return engine.Outcome{Err: core.Errorf(core.CallbackFailed, "the endpoint answered, but %s", reason(err))}
	case err != nil:
		return engine.Outcome{Err: core.Errorf(core.CallbackFailed, "the endpoint cannot be reached: %s", reason(err))}
	}
	out := engine.Outcome{Status: answer.status}
	switch {
	case answer.status >= 200 && answer.status <= 299:
		out.Done = true
	case answer.status == http.StatusGone:
		out.Gone = true
	case answer.status == http.StatusTooManyRequests || answer.status == http.StatusServiceUnavailable:
		out.RetryAfter = retryAfter(answer.header.Get("Retry-After"), time.Now())
		out.Err = answer.failed()
	default:
		out.Err = answer.failed()
	}
	if !out.Done {
		out.Answer = excerpt(answer.body())
	}
	return out
}

// maxExcerpt is how many bytes of a failed attempt's answer are kept for people.
const maxExcerpt = 256

// excerpt is the beginning of a body as text.
func excerpt(body []byte) string {
	cut := len(body) > maxExcerpt
	text := strings.ToValidUTF8(string(body[:min(len(body), maxExcerpt)]), "\ufffd")
	if cut {
		text += "…"
	}
	return text
}

// maxRetryAfter bounds how long an endpoint can put us off.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads Retry-After: seconds, or a date (RFC 9110, section 10.2.3). It
// is zero for anything else and at most a day.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return max(0, min(maxRetryAfter, date.Sub(now)))
}
