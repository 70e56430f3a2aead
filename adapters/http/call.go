package rest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/anybridge/anybridge/core"
)

// call serves POST /call/PROCEDURE/: it waits for the result, or starts a call
// whose outcome goes to a callback.
func (f *Frontend) call(x *exchange) error {
	if err := x.bearer(); err != nil {
		return err
	}
	body, err := x.body()
	if err != nil {
		return err
	}
	req, err := decodeCall(body, f.limits.MaxDepth)
	if err != nil {
		return x.hint(err)
	}
	if err := x.identify(req.token); err != nil {
		return err
	}
	procedure, err := core.ParseAddress(x.name, f.o.Bridge.DefaultBackend())
	if err != nil {
		return err
	}
	if err := x.may(core.VerbCall, procedure); err != nil {
		return err
	}
	c := &core.Call{Procedure: procedure, Payload: req.Payload}
	if req.callback != nil {
		return f.startCall(x, c, &req)
	}
	timeout, err := boundedTimeout(req.timeout, f.limits.Timeout, f.limits.MaxTimeout)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), timeout)
	defer cancel()
	result, err := f.o.Bridge.Call(ctx, c)
	if err != nil {
		return callError(ctx, err, timeout)
	}
	x.out = append(x.out[:0], '{')
	x.out = appendPayload(x.out, result.Args, result.Kwargs)
	x.out = append(x.out, '}', '\n')
	return x.reply(http.StatusOK, jsonType)
}

// callError makes sure that a deadline of ours looks like one, however the backend
// put it. What a procedure raised stays as it is.
func callError(ctx context.Context, err error, timeout time.Duration) error {
	if code := core.CodeOf(err); code != core.Application && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return core.Errorf(core.Timeout, "no answer within %s", timeout)
	}
	return err
}

// startCall answers 202 with the id under which the callback gets the outcome.
func (f *Frontend) startCall(x *exchange, c *core.Call, req *callRequest) error {
	timeout, err := boundedTimeout(req.timeout, f.limits.AsyncTimeout, f.limits.MaxAsyncTimeout)
	if err != nil {
		return err
	}
	if err := f.o.Callbacks.CheckURL(req.callback.url); err != nil {
		return prefixed("callback", err)
	}
	id, err := f.o.Work.StartCall(x.r.Context(), x.token.Name, c, timeout, x.endpoint(req.callback))
	if err != nil {
		return err
	}
	return x.replyID(http.StatusAccepted, id)
}

// replyID answers {"id": …}.
func (x *exchange) replyID(status int, id string) error {
	x.out = append(x.out[:0], `{"id":`...)
	x.out = appendString(x.out, id)
	x.out = append(x.out, '}', '\n')
	return x.reply(status, jsonType)
}

func boundedTimeout(asked, usual, most time.Duration) (time.Duration, error) {
	switch {
	case asked == 0:
		return usual, nil
	case asked > most:
		return 0, core.Errorf(core.InvalidArgument, "timeout: want at most %s", most)
	}
	return asked, nil
}

// hint adds to an error what the Content-Type says about a body that is no JSON.
func (x *exchange) hint(err error) error {
	var syntax *syntaxError
	if errors.As(err, &syntax) {
		if kind := x.r.Header.Get("Content-Type"); kind != "" && !strings.Contains(strings.ToLower(kind), "json") {
			return core.Errorf(core.InvalidArgument, "%s (any Content-Type is accepted, but the body must be JSON)", err.Error())
		}
	}
	return err
}
