package xmpp

import (
	"context"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"github.com/anybridge/anybridge/backends/xmpp/stream"
	"github.com/anybridge/anybridge/core"
)

// procedure is a command that we offer. It implements core.Stream.
type procedure struct {
	*core.Pipe[*core.Invocation]
	r       *running
	address core.Address
}

// invocation is a command that somebody has executed and we have not answered yet.
type invocation struct {
	key       string
	procedure *procedure
	taken     bool // by who serves the procedure
	canceled  chan struct{}
	gone      bool // canceled is closed
	reply     func(*core.Result, error)
}

// register implements Backend.Register.
func (r *running) register(p core.Pattern, o core.RegisterOptions) (core.Stream[*core.Invocation], error) {
	switch {
	case p.Match != core.Exact && p.Match != "":
		return nil, core.Errorf(core.Unimplemented, "XMPP has no %s registrations", p.Match)
	case o.Invoke != "" && o.Invoke != "single":
		return nil, core.Errorf(core.Unimplemented, "XMPP has no shared registrations (invoke %s)", o.Invoke)
	case p.Name == nsCommands:
		return nil, core.Errorf(core.InvalidArgument, "%s is the list of commands itself", p.Name)
	}
	if err := checkCommand(p.Name); err != nil {
		return nil, err
	}
	if err := r.client.Up(); err != nil {
		return nil, err
	}
	c := &procedure{r: r, address: p.Address}
	c.Pipe = core.NewPipe[*core.Invocation](0, 0, nil) // max_invocations bounds it
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, core.Errorf(core.Unavailable, "the backend is closed")
	}
	if _, taken := r.procedures[p.Name]; taken {
		return nil, core.Errorf(core.AlreadyExists, "%s is registered already", p.Name)
	}
	r.procedures[p.Name] = c
	return c, nil
}

// Next implements core.Stream.
func (c *procedure) Next(ctx context.Context) ([]*core.Invocation, error) {
	batch, err := c.Pipe.Next(ctx)
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	for _, i := range batch {
		if open := c.r.invocations[i.ID]; open != nil {
			open.taken = true
		}
	}
	return batch, err
}

// Close implements core.Stream.
func (c *procedure) Close() error {
	c.r.mu.Lock()
	if c.r.procedures[c.address.Name] == c {
		delete(c.r.procedures, c.address.Name)
	}
	var waiting []*invocation
	for _, i := range c.r.invocations {
		if i.procedure == c && !i.taken {
			waiting = append(waiting, i)
		}
	}
	c.r.mu.Unlock()
	for _, i := range waiting {
		i.reply(nil, core.Errorf(core.Unavailable, "the procedure is no longer served"))
	}
	return c.Pipe.Close()
}

// drain withdraws our commands and gives those that are being executed their time.
func (r *running) drain(ctx context.Context) {
	r.mu.Lock()
	procedures := r.procedures
	r.procedures = map[string]*procedure{}
	r.mu.Unlock()
	if deadline, ok := ctx.Deadline(); ok { // the rest needs some time, too
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)*3/4)
		defer cancel()
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; {
		r.mu.Lock()
		waiting = len(r.invocations) > 0
		r.mu.Unlock()
		if waiting {
			select {
			case <-tick.C:
			case <-ctx.Done():
				waiting = false
			}
		}
	}
	r.mu.Lock()
	var left []*invocation
	for _, i := range r.invocations {
		i.cancelLocked()
		left = append(left, i)
	}
	r.mu.Unlock()
	for _, i := range left {
		i.reply(nil, core.Errorf(core.Unavailable, "the bridge is closing"))
	}
	for _, c := range procedures {
		c.End(nil)
	}
}

// cancelLocked tells who serves the call that nobody waits any longer.
func (i *invocation) cancelLocked() {
	if !i.gone {
		i.gone = true
		close(i.canceled)
	}
}

// onCommand handles the execution of one of our commands (XEP-0050).
func (r *running) onCommand(from jid.JID, iq, command *stream.Element) {
	node := command.Attr("node")
	if !r.mayCall(from) {
		r.client.Count("calls_refused", 1)
		r.send(errorStanza(iq, "forbidden", "auth", "callers does not allow it"))
		return
	}
	r.mu.Lock()
	c := r.procedures[node]
	r.mu.Unlock()
	if c == nil {
		r.send(errorStanza(iq, "item-not-found", "cancel", "there is no such command"))
		return
	}
	session := command.Attr("sessionid")
	switch command.Attr("action") {
	case "", "execute", "next", "complete":
	case "cancel":
		r.cancelInvocation(from, session)
		r.send(reply(iq, "result", commandAnswer(node, session, "canceled")))
		return
	default:
		r.send(errorStanza(iq, "bad-request", "modify", "", stream.E(nsCommands, "bad-action")))
		return
	}
	payload, who, given, err := commandPayload(command)
	switch {
	case err != nil:
		r.send(errorStanza(iq, "bad-request", "modify", err.Error(), stream.E(nsCommands, "bad-payload")))
	case !given:
		if session == "" {
			session = r.client.NewID()
		}
		actions := stream.E("", "actions", stream.E("", "complete")).Set("execute", "complete")
		r.send(reply(iq, "result", commandAnswer(node, session, "executing").Add(actions, argumentForm(node))))
	default:
		if !from.Equal(r.client.JID()) {
			who = core.Caller{} // only the bridge itself knows
		}
		r.invoke(c, from, who, iq, payload)
	}
}

func commandAnswer(node, session, status string) *stream.Element {
	return stream.E(nsCommands, "command").Set("node", node).Set("sessionid", session).Set("status", status)
}

// commandPayload reads the arguments, in JSON or in a form; given is false if there are
// neither.
func commandPayload(command *stream.Element) (p core.Payload, who core.Caller, given bool, err error) {
	if e := command.Child(nsJSON, "json"); e != nil {
		c, ok := readContainer(e.Text)
		if !ok {
			return p, who, false, core.Errorf(core.InvalidArgument, `want a JSON object {"args": […], "kwargs": {…}}`)
		}
		return c.payload(), core.Caller{Token: c.Token, User: c.User}, true, nil
	}
	if form := command.Child(nsForm, "x"); form != nil && form.Attr("type") == "submit" {
		p, err = formPayload(form)
		return p, who, err == nil, err
	}
	return p, who, false, nil
}

// invoke hands a call on to who serves it.
func (r *running) invoke(c *procedure, from jid.JID, who core.Caller, iq *stream.Element, payload core.Payload) {
	key := from.String() + "\x00" + iq.Attr("id")
	r.mu.Lock()
	defer r.mu.Unlock()
	_, twice := r.invocations[key]
	if twice || len(r.invocations) >= r.config.MaxInvocations {
		r.spawnLocked(func() { r.send(errorStanza(iq, "resource-constraint", "wait", "too many calls are waiting")) })
		return
	}
	i := &invocation{key: key, procedure: c, canceled: make(chan struct{})}
	var once sync.Once
	i.reply = func(result *core.Result, err error) {
		once.Do(func() { r.answerInvocation(i, iq, result, err) })
	}
	r.invocations[key] = i
	call := &core.Invocation{
		ID: key, Procedure: c.address, Payload: payload, Canceled: i.canceled, Reply: i.reply,
		Details: callDetails(from, who, r.rooms[from.Bare().String()] != nil),
	}
	if !c.TryPut(call, payload.Size()) { // it has just been closed
		delete(r.invocations, key)
		r.spawnLocked(func() { r.send(errorStanza(iq, "item-not-found", "cancel", "there is no such command")) })
	}
}

// cancelInvocation cancels a call whose session the caller names: as ours have none
// while they run, it is the id of the request.
func (r *running) cancelInvocation(from jid.JID, session string) {
	r.mu.Lock()
	i := r.invocations[from.String()+"\x00"+session]
	if i != nil {
		i.cancelLocked()
	}
	r.mu.Unlock()
	if i != nil {
		i.reply(nil, core.Errorf(core.Canceled, "the caller gave up"))
	}
}
