package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/anybridge/anybridge/core"
)

// resultType is the media type of a full result: {"args": […], "kwargs": {…}}.
const resultType = "application/vnd.anybridge.result+json"

// Invoke implements core.Invoker: it sends the invocation once and reads the app's
// answer as docs/rest.md has it.
func (c *Callbacks) Invoke(ctx context.Context, r *core.Registration, inv *core.Invocation) (*core.Result, error) {
	start := time.Now()
	answer, err := c.post(ctx, &r.Endpoint, inv.ID, c.invocationBody(inv), false)
	var result *core.Result
	if err != nil {
		err = c.invocationError(err, &r.Endpoint)
	} else {
		result, err = answer.result(inv.Procedure.Text(c.o.DefaultBackend))
	}
	outcome := outcomeOf(err)
	c.metrics.observe(kindInvocation, outcome, time.Since(start))
	c.noteHealth(r, err)
	if outcome != outcomeOK && c.o.Log.Enabled(ctx, slog.LevelDebug) {
		c.o.Log.Debug("invocation failed", slog.String("id", inv.ID), slog.String("registration", r.ID()), slog.Any("error", err))
	}
	return result, err
}

// result reads the answer to an invocation.
func (r *reply) result(procedure string) (*core.Result, error) {
	kind, _, _ := mime.ParseMediaType(r.header.Get("Content-Type"))
	if kind == problemType {
		if e := r.problem(); e != nil {
			return nil, e
		}
	}
	switch {
	case r.status == http.StatusNotFound:
		return nil, core.Errorf(core.NoSuchProcedure, "the app says that it has no procedure %s", procedure)
	case r.status == http.StatusTooManyRequests || r.status == http.StatusServiceUnavailable:
		e := core.Errorf(core.Unavailable, "the app behind the procedure answered %d", r.status)
		e.RetryAfter = retryAfter(r.header.Get("Retry-After"), time.Now())
		return nil, e
	case r.status < 200 || r.status > 299:
		return nil, r.failed()
	}
	body := bytes.TrimSpace(r.body())
	if r.status == http.StatusNoContent || r.status == http.StatusResetContent || len(body) == 0 {
		return &core.Result{Payload: core.Payload{Args: json.RawMessage("[null]")}}, nil
	}
	s := newScanner(body, maxReplyDepth)
	if kind == resultType {
		payload, err := s.result()
		if err != nil {
			return nil, core.Errorf(core.CallbackFailed, "the app answered %d with a wrong %s: %w", r.status, resultType, err)
		}
		return &core.Result{Payload: payload}, nil
	}
	if s.skip() == nil && s.end() == nil {
		return &core.Result{Payload: core.Payload{Args: r.list()}}, nil
	}
	return nil, core.Errorf(core.CallbackFailed, "the app answered %d with something that is not JSON: %s", r.status, snippet(body))
}

// maxReplyDepth is how many lists and objects an answer may have inside each other.
const maxReplyDepth = 512

// list is the body as the one element of a list, made where it lies.
func (r *reply) list() json.RawMessage {
	r.framed[0], r.framed[len(r.framed)-1] = '[', ']'
	return r.framed
}

// result reads {"args": […], "kwargs": {…}}.
func (s *scanner) result() (p core.Payload, err error) {
	var unknown unknownFields
	err = s.object(func(key []byte) (err error) {
		switch string(key) {
		case "args":
			p.Args, err = s.args()
		case "kwargs":
			p.Kwargs, err = s.kwargs()
		default:
			return unknown.add(s, key)
		}
		return at(string(key), err)
	})
	if err == nil {
		err = s.end()
	}
	if err == nil {
		err = unknown.err("args", "kwargs")
	}
	return p, err
}

// problem reads problem details with an "error": what the procedure raised. It
// returns nil if this is no such thing.
func (r *reply) problem() *core.Error {
	e := &core.Error{Code: core.Application}
	s := newScanner(r.body(), maxReplyDepth)
	err := s.object(func(key []byte) (err error) {
		switch string(key) {
		case "error":
			e.URI, err = s.text()
		case "args":
			e.Args, err = s.args()
		case "kwargs":
			e.Kwargs, err = s.kwargs()
		case "detail":
			e.Message, err = s.text()
		default:
			err = s.skip()
		}
		return err
	})
	if err != nil || s.end() != nil || e.URI == "" || len(e.URI) > core.MaxNameLen || strings.ContainsFunc(e.URI, unicode.IsControl) {
		return nil //nolint:nilerr // other answers are read otherwise
	}
	return e
}

// failed is an answer with a status that means nothing better.
func (r *reply) failed() *core.Error {
	text := ""
	if s := snippet(r.body()); s != "" {
		text = ": " + s
	}
	if r.status >= 300 && r.status < 400 {
		text = "; redirects are not followed"
	}
	return core.Errorf(core.CallbackFailed, "the app answered %d%s", r.status, text)
}

// snippet is the beginning of a body, fit to be shown in one line.
func snippet(body []byte) string {
	const most = 200
	cut := body[:min(len(body), most)]
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, string(cut))
	text = strings.Join(strings.Fields(text), " ")
	if len(body) > most {
		text += " …"
	}
	return text
}

// invocationError is what the caller of a procedure is told when there was no
// answer. It names no address: what is behind a procedure is the app's business.
func (c *Callbacks) invocationError(err error, e *core.Endpoint) error {
	switch {
	case errors.Is(err, errDeadline):
		return core.Errorf(core.Timeout, "the app behind the procedure did not answer within %s", c.timeout(e))
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return core.AsError(err)
	case errors.Is(err, errBusy):
		busy := core.Errorf(core.TooMany, "too many calls to the app behind the procedure are under way")
		busy.RetryAfter = time.Second
		return busy
	case core.CodeOf(err) == core.CallbackForbidden, errors.Is(err, errForbidden), errors.Is(err, errProxyForbids):
		return core.Errorf(core.CallbackFailed, "the callback URL of the procedure is not allowed")
	case errors.Is(err, errTooLong), errors.Is(err, errGzip):
		return core.Errorf(core.CallbackFailed, "the app behind the procedure answered, but %s", reason(err))
	}
	return core.Errorf(core.CallbackFailed, "the app behind the procedure cannot be reached: %s", reason(err))
}
