package session

import (
	"context"
	"time"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/anybridge/anybridge/core"
)

// Call calls a procedure and waits for its result. A deadline of ctx travels along
// as the timeout option; when ctx ends, the call is canceled on the router
// ("killnowait": nobody waits for what the callee says to that).
func (s *Session) Call(ctx context.Context, call *core.Call) (*core.Result, error) {
	if err := checkName("procedure", call.Procedure.Name, core.Exact); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, core.AsError(ctx.Err())
	}
	c, err := s.conn()
	if err != nil {
		return nil, err
	}
	if err := checkDepth(call.Payload); err != nil {
		return nil, err
	}
	payload := sent(call)
	if err := c.prepare(payload); err != nil {
		return nil, err
	}
	s.count.calls.Add(1)
	msg, err := c.do(ctx, &request{
		build: func(id wamp.ID) wamp.Message {
			return &wamp.Call{
				Request: id, Options: callOptions(ctx), Procedure: wamp.URI(call.Procedure.Name),
				Arguments: wire.Opaque(payload),
			}
		},
		abandon: func(id wamp.ID) { c.note(cancelMessage(id)) },
		call:    true,
	})
	if err != nil {
		return nil, naming(call.Procedure.Name, err)
	}
	m, ok := msg.(*wamp.Result)
	if !ok {
		return nil, unexpectedAnswer("CALL", msg)
	}
	result := &core.Result{Details: detailsJSON(m.Details)}
	if result.Payload, err = readPayload(m, m.Arguments, m.ArgumentsKw); err != nil {
		return nil, core.Errorf(core.Internal, "read result: %w", err)
	}
	return result, nil
}

// sent is what the CALL carries: with the caller, as far as that is known.
func sent(call *core.Call) *wire.Payload {
	if call.Caller == (core.Caller{}) {
		return newPayload(call.Payload)
	}
	p := wire.NewPayload(wire.JSON, call.Args, call.Kwargs)
	return p.From(&wire.Sender{Token: call.Caller.Token, User: call.Caller.User})
}

// naming puts the procedure's name into the bare NoSuchProcedure of a router. One
// that a callee raised, with a text of its own, stays as it is.
func naming(procedure string, err error) error {
	e := core.AsError(err)
	if e.Code != core.NoSuchProcedure || len(e.Args) > 0 {
		return err
	}
	named := *e
	named.Message = "nobody has registered the procedure " + procedure
	return &named
}

// callOptions holds what is left until the deadline, in milliseconds, rounded up.
func callOptions(ctx context.Context) wamp.Dict {
	options := wamp.Dict{}
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline) + time.Millisecond - 1
		options["timeout"] = max(int64(left/time.Millisecond), 1)
	}
	return options
}

func cancelMessage(id wamp.ID) *wamp.Cancel {
	return &wamp.Cancel{Request: id, Options: wamp.Dict{"mode": wamp.CancelModeKillNoWait}}
}

func unexpectedAnswer(to string, msg wamp.Message) error {
	return core.Errorf(core.Internal, "the router answered %s with %s", to, msg.MessageType())
}
