package routes

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/core"
)

const (
	// maxCalls bounds the calls of one route that are under way: also how deep routes
	// of procedures can call each other in a circle that nobody could see beforehand.
	maxCalls = 1000
	callTime = 30 * time.Second
)

// procedure offers a procedure of one backend on another.
type procedure struct {
	bridge *core.Bridge
	owner  string
	route  atomic.Pointer[Route]

	calls, failed atomic.Int64
	now           atomic.Int64
}

func newProcedure(b *core.Bridge, r *Route) *procedure {
	p := &procedure{bridge: b, owner: core.RouteOwner + r.Name}
	p.route.Store(r)
	return p
}

// invoke calls the other procedure.
func (p *procedure) invoke(ctx context.Context, inv *core.Invocation) (*core.Result, error) {
	p.calls.Add(1)
	result, err := p.call(ctx, inv)
	if err != nil {
		p.failed.Add(1)
	}
	return result, err
}

func (p *procedure) call(ctx context.Context, inv *core.Invocation) (*core.Result, error) {
	defer p.now.Add(-1)
	if p.now.Add(1) > maxCalls {
		return nil, &core.Error{Code: core.TooMany, Message: "this route has 1,000 calls under way already", RetryAfter: time.Second}
	}
	r := p.route.Load()
	payload := inv.Payload
	if r.args != nil || r.kwargs != nil {
		e, err := r.newEnv(inv.Procedure, inv.Payload, inv.Details)
		if err == nil {
			payload, err = r.payload(inv.Payload, e, nil)
		}
		if err != nil {
			return nil, core.Errorf(core.InvalidArgument, "route %s: %w", r.Name, err)
		}
	}
	timeout := r.Timeout
	if timeout == 0 {
		timeout = callTime
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	result, err := p.bridge.Call(ctx, &core.Call{Procedure: r.Call, Payload: payload, Caller: callerIn(inv.Details)})
	if err != nil || r.text == nil || result == nil {
		return result, err
	}
	e, err := r.newEnv(r.Call, result.Payload, result.Details)
	if err == nil {
		result.Payload, err = r.payload(result.Payload, e, r.text)
	}
	if err != nil {
		return nil, core.Errorf(core.Internal, "route %s: %w", r.Name, err)
	}
	return result, nil
}

// callerIn is who called, as far as the bridge itself knows it.
func callerIn(details json.RawMessage) (c core.Caller) {
	var d struct {
		Token string `json:"caller_token"`
		User  string `json:"caller_user"`
	}
	_ = json.Unmarshal(details, &d) // other details are none of ours
	return core.Caller{Token: d.Token, User: d.User}
}
