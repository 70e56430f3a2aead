package rest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// call serves POST /call/PROCEDURE/: it waits for the result, or starts a call
// whose outcome goes to a callback.
func (f *Frontend) call(x *exchange) error {
	if err := x.bearer(); err != nil {
		return err
	}
	key, err := x.idempotencyKey()
	if err != nil {
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
	if req.user != "" && !x.token.Users {
		return core.Errorf(core.Forbidden, "user: token %s may not say on whose behalf it calls: users: true, in the bridge's configuration, lets it", x.token.Name)
	}
	c := &core.Call{Procedure: procedure, Payload: req.Payload, Caller: core.Caller{Token: x.token.Name, User: req.user}}
	if req.callback != nil {
		return f.startCall(x, c, &req, key, body)
	}
	if key != "" {
		return core.Errorf(core.InvalidArgument, "%s needs a callback: the result of a call that somebody waits for is not kept", keyHeader)
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

// startCall answers 202 with the id under which the callback gets the outcome. The
// call is in the engine's store then: whatever happens to the bridge, it is made at
// most once, and an outcome is delivered at least once ("unknown" if the bridge was
// stopped meanwhile).
func (f *Frontend) startCall(x *exchange, c *core.Call, req *callRequest, key string, body []byte) error {
	timeout, err := boundedTimeout(req.timeout, f.limits.AsyncTimeout, f.limits.MaxAsyncTimeout)
	if err != nil {
		return err
	}
	if err := f.o.Callbacks.CheckURL(req.callback.url); err != nil {
		x.refused(string(core.VerbCall), core.Pattern{Address: c.Procedure}, req.callback.url, err)
		return prefixed("callback", err)
	}
	start := engine.AsyncCall{Owner: x.token.Name, Call: c, Timeout: timeout, To: x.endpoint(req.callback, nil)}
	if key == "" {
		id, err := f.o.Work.StartCall(x.r.Context(), start)
		if err != nil {
			return err
		}
		return x.replyID(http.StatusAccepted, id)
	}
	return x.once(keyed{
		key: key, prefix: "call", fingerprint: x.fingerprint(c.Procedure, body, req.token), unknown: mayBeDone,
		work: func(ctx context.Context, claim *engine.Claim) (int, error) {
			start.ID, start.Again = claim.ID, claim.Again
			id, err := f.o.Work.StartCall(ctx, start)
			if err != nil {
				return 0, err
			}
			x.putID(id)
			return http.StatusAccepted, nil
		},
	})
}

// replyID answers {"id": …}.
func (x *exchange) replyID(status int, id string) error {
	x.putID(id)
	return x.reply(status, jsonType)
}

func (x *exchange) putID(id string) {
	x.out = append(x.out[:0], `{"id":`...)
	x.out = core.AppendString(x.out, id)
	x.out = append(x.out, '}', '\n')
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
