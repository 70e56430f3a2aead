package session

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/anybridge/anybridge/core"
)

// invocation is a call that came in and is not answered yet. It stands in its
// connection's table until it is.
type invocation struct {
	b        *registration
	c        *conn
	msg      *wamp.Invocation
	timeout  time.Duration
	timer    *time.Timer   // ends it at the timeout; may be nil
	taken    atomic.Bool   // Next has handed it on
	finished atomic.Bool   // nobody waits for the answer, or it is given
	canceled chan struct{} // closed with finished, unless it was answered
}

// invocation takes in an INVOCATION. It is refused with wamp.error.unavailable,
// which lets a dealer try another callee (WAMP specification, "Call Rerouting"),
// when there are too many already or the registration is being closed.
func (c *conn) invocation(m *wamp.Invocation) {
	c.s.count.invocationsIn.Add(1)
	inv := &invocation{c: c, msg: m, canceled: make(chan struct{})}
	if ms, ok := wamp.AsInt64(m.Details["timeout"]); ok && ms > 0 {
		inv.timeout = time.Duration(min(ms, int64(24*time.Hour/time.Millisecond))) * time.Millisecond
	}
	c.mu.Lock()
	inv.b = c.regs[m.Registration]
	full := len(c.open) >= c.s.o.MaxInvocations
	ok := inv.b != nil && !full && c.err == nil
	if ok {
		c.open[m.Request] = inv
		if inv.timeout > 0 {
			inv.timer = time.AfterFunc(inv.timeout, inv.expire)
		}
	}
	c.mu.Unlock()
	switch {
	case !ok && full:
		c.refuseOne(m.Request, "too many calls are waiting for their answers")
	case !ok:
		c.refuseOne(m.Request, "the procedure is being unregistered")
	case !inv.b.queue.TryPut(inv, payloadSize(m)):
		inv.refuse("too many calls are waiting for this procedure")
	}
}

func (c *conn) refuseOne(request wamp.ID, why string) {
	c.s.count.invocationsRefused.Add(1)
	c.note(c.s.errors.write(request, core.Errorf(core.Unavailable, "%s", why)))
}

func (inv *invocation) refuse(why string) {
	if inv.cancel(core.Errorf(core.Unavailable, "%s", why)) {
		inv.c.s.count.invocationsRefused.Add(1)
	}
}

// refuse answers open invocations with Unavailable.
func (c *conn) refuse(which func(*invocation) bool) {
	c.mu.Lock()
	var chosen []*invocation
	for _, inv := range c.open {
		if which(inv) {
			chosen = append(chosen, inv)
		}
	}
	c.mu.Unlock()
	for _, inv := range chosen {
		inv.refuse("the procedure's provider is leaving")
	}
}

// drainInvocations waits until no invocation is open, or until ctx ends.
func (c *conn) drainInvocations(ctx context.Context) {
	c.mu.Lock()
	if len(c.open) == 0 {
		c.mu.Unlock()
		return
	}
	drained := make(chan struct{})
	c.drained = drained
	c.mu.Unlock()
	select {
	case <-drained:
	case <-ctx.Done():
	}
}

// interrupt is the router's wish that we stop working on an invocation (WAMP
// specification, "Call Canceling").
func (c *conn) interrupt(m *wamp.Interrupt) {
	c.mu.Lock()
	inv := c.open[m.Request]
	c.mu.Unlock()
	if inv != nil {
		inv.cancel(core.Errorf(core.Canceled, "canceled by the caller"))
	}
}

// expire ends an invocation whose caller does not wait any longer.
func (inv *invocation) expire() {
	inv.cancel(core.Errorf(core.Timeout, "the call's timeout has passed"))
}

// cancel answers an invocation in place of its consumer, who learns from Canceled.
func (inv *invocation) cancel(err *core.Error) bool {
	if !inv.settle(inv.c.s.errors.write(inv.msg.Request, err)) {
		return false
	}
	close(inv.canceled)
	return true
}

// lose ends an invocation whose connection is gone.
func (inv *invocation) lose() {
	if inv.settle(nil) {
		close(inv.canceled)
	}
}

// settle answers the invocation, if it has not been, and then takes it out of the
// table. It reports whether it was the first to do so.
func (inv *invocation) settle(answer wamp.Message) bool {
	if inv.finished.Swap(true) {
		return false
	}
	c := inv.c
	if answer != nil {
		c.note(answer)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if inv.timer != nil {
		inv.timer.Stop()
	}
	if c.open[inv.msg.Request] == inv {
		delete(c.open, inv.msg.Request)
	}
	if len(c.open) == 0 && c.drained != nil {
		close(c.drained)
		c.drained = nil
	}
	return true
}

// take makes what the consumer gets; nil if nobody waits for an answer any more, or
// if the payload cannot be read.
func (inv *invocation) take() *core.Invocation {
	if inv.finished.Load() {
		return nil
	}
	m := inv.msg
	payload, err := readPayload(m, m.Arguments, m.ArgumentsKw)
	if err != nil {
		inv.reply(nil, core.Errorf(core.InvalidArgument, "read arguments: %w", err))
		return nil
	}
	inv.taken.Store(true)
	return &core.Invocation{
		ID:        formatID(inv.c.id) + "-" + strconv.FormatUint(uint64(m.Request), 10),
		Procedure: core.Address{Backend: inv.b.pattern.Backend, Name: inv.procedure()},
		Payload:   payload,
		Details:   detailsJSON(withSender(m.Details, wire.PayloadOf(m))),
		Timeout:   inv.timeout,
		Canceled:  inv.canceled,
		Reply:     inv.reply,
	}
}

// withSender tells which token called, which only a router in this process can know.
// What another one says under these names is not believed.
func withSender(details wamp.Dict, p *wire.Payload) wamp.Dict {
	delete(details, "caller_token")
	delete(details, "caller_user")
	if p == nil || p.Sender() == nil {
		return details
	}
	sender := p.Sender()
	if details == nil {
		details = wamp.Dict{}
	}
	details["caller_token"] = sender.Token
	if sender.User != "" {
		details["caller_user"] = sender.User
	}
	return details
}

// procedure is the concrete procedure that was called.
func (inv *invocation) procedure() string {
	if name, ok := wamp.AsString(inv.msg.Details["procedure"]); ok && name != "" {
		return name
	}
	return inv.b.pattern.Name
}

// reply is core.Invocation.Reply.
func (inv *invocation) reply(result *core.Result, err error) {
	if err == nil && result != nil {
		err = checkDepth(result.Payload)
	}
	if err != nil {
		inv.settle(inv.c.s.errors.write(inv.msg.Request, err))
		return
	}
	yield := &wamp.Yield{Request: inv.msg.Request, Options: wamp.Dict{}}
	if result != nil {
		yield.Arguments = wire.Opaque(newPayload(result.Payload))
	}
	inv.settle(yield)
}
