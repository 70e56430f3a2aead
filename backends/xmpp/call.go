package xmpp

import (
	"context"
	"strings"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"github.com/anybridge/anybridge/backends/xmpp/stream"
	"github.com/anybridge/anybridge/core"
)

// parseProcedure reads what is called: "entity!node", or "node" for a command that a
// session of our own account offers.
func (r *running) parseProcedure(ctx context.Context, name string) (to jid.JID, node string, err error) {
	entity, node, ok := strings.Cut(name, "!")
	if !ok {
		if err := checkCommand(name); err != nil {
			return to, name, err
		}
		to, err = r.findProcedure(ctx, name)
		return to, name, err
	}
	to, err = jid.Parse(entity)
	if err != nil || node == "" {
		return to, node, core.Errorf(core.InvalidArgument, "procedure %q: want JID!command", name)
	}
	return to, node, nil
}

// checkCommand refuses what would be taken for an address.
func checkCommand(name string) error {
	if strings.ContainsAny(name, "@!") {
		return core.Errorf(core.InvalidArgument, "procedure %q: a command of ours has no @ or ! in its name; those of others are called JID!command", name)
	}
	return nil
}

// findProcedure finds the session of our account that offers a command: this one, or one
// of the others, who are all asked at once.
func (r *running) findProcedure(ctx context.Context, name string) (jid.JID, error) {
	if err := r.client.Up(); err != nil {
		return jid.JID{}, err
	}
	if err := r.introduced(ctx); err != nil {
		return jid.JID{}, err
	}
	asked := map[string]bool{}
	for {
		r.mu.Lock()
		_, here := r.procedures[name]
		var siblings []jid.JID
		for key, s := range r.siblings {
			if !asked[key] {
				asked[key] = true
				siblings = append(siblings, s)
			}
		}
		r.mu.Unlock()
		if here {
			return r.client.JID(), nil
		}
		if to, ok := r.whoOffers(ctx, name, siblings); ok {
			return to, nil
		}
		// Servers need not tell a new session of the others at once.
		const young = time.Second
		if r.client.Age() > young {
			return r.client.JID(), ctx.Err() // who will say that there is no such command
		}
		if !moment(ctx) {
			return jid.JID{}, ctx.Err()
		}
	}
}

// whoOffers asks sessions for a command, all at once, and returns the first that has it.
func (r *running) whoOffers(ctx context.Context, name string, sessions []jid.JID) (jid.JID, bool) {
	const enough = 5 * time.Second // who is online answers at once
	asking, cancel := context.WithTimeout(ctx, enough)
	defer cancel()
	found := make(chan jid.JID, len(sessions))
	var work sync.WaitGroup
	for _, s := range sessions {
		work.Go(func() {
			query := stream.E(nsInfo, "query").Set("node", name)
			if _, err := r.ask(asking, "get", s, "look for "+name, query); err == nil {
				found <- s
				cancel()
			}
		})
	}
	work.Wait()
	select {
	case to := <-found:
		return to, true
	default:
		return jid.JID{}, false
	}
}

// call implements Backend.Call. A command that asks for its arguments is given them in
// its form; one that asks again is not supported.
func (r *running) call(ctx context.Context, c *core.Call) (*core.Result, error) {
	to, node, err := r.parseProcedure(ctx, c.Procedure.Name)
	if err != nil {
		return nil, err
	}
	args := contain(c.Payload)
	if to.Equal(r.client.JID()) {
		args.Token, args.User = c.Caller.Token, c.Caller.User
	}
	command := stream.E(nsCommands, "command", args.element()).Set("node", node).Set("action", "execute")
	answer, err := r.execute(ctx, to, node, command)
	if err != nil {
		return nil, err
	}
	if answer.Attr("status") == "executing" {
		if answer, err = r.submit(ctx, to, node, answer, c.Payload); err != nil {
			return nil, err
		}
	}
	return commandResult(node, answer)
}

// execute makes one step and returns the command's answer.
func (r *running) execute(ctx context.Context, to jid.JID, node string, command *stream.Element) (*stream.Element, error) {
	id := r.client.NewID()
	iq := stream.E(nsClient, "iq", command).Set("type", "set").Set("to", to.String())
	answer, err := r.client.AskAs(ctx, id, iq)
	if err != nil {
		if ctx.Err() != nil {
			session := command.Attr("sessionid")
			if session == "" {
				session = id // that is how another bridge finds it
			}
			r.cancelCommand(to, node, session)
		}
		return nil, err
	}
	if answer.Attr("type") == "error" {
		return nil, callError(answer, "call "+node)
	}
	result := answer.Child(nsCommands, "command")
	if result == nil {
		return nil, core.Errorf(core.Unavailable, "call %s: %s answered with something else", node, to)
	}
	return result, nil
}

func (r *running) cancelCommand(to jid.JID, node, session string) {
	r.send(stream.E(nsClient, "iq", stream.E(nsCommands, "command").
		Set("node", node).Set("action", "cancel").Set("sessionid", session)).
		Set("type", "set").Set("to", to.String()).Set("id", r.client.NewID()))
}

// submit fills in the form that a command answered with.
func (r *running) submit(ctx context.Context, to jid.JID, node string, answer *stream.Element, p core.Payload) (*stream.Element, error) {
	session := answer.Attr("sessionid")
	form := answer.Child(nsForm, "x")
	if form == nil {
		r.cancelCommand(to, node, session)
		return nil, core.Errorf(core.Unimplemented, "call %s: the command goes on in a way that is not known here", node)
	}
	filled, err := fillForm(form, p)
	if err != nil {
		r.cancelCommand(to, node, session)
		return nil, err
	}
	action := "complete"
	if a := answer.Child("", "actions"); a != nil && a.Child("", "complete") == nil && a.Child("", "next") != nil {
		action = "next"
	}
	answer, err = r.execute(ctx, to, node, stream.E(nsCommands, "command", filled).
		Set("node", node).Set("sessionid", session).Set("action", action))
	if err == nil && answer.Attr("status") == "executing" {
		r.cancelCommand(to, node, session)
		return nil, core.Errorf(core.Unimplemented, "call %s: the command asks more than once", node)
	}
	return answer, err
}

// commandResult reads a command's result: our JSON, or a form, or the text of its notes.
func commandResult(node string, answer *stream.Element) (*core.Result, error) {
	if answer.Attr("status") == "canceled" {
		return nil, core.Errorf(core.Canceled, "call %s: the other side canceled it", node)
	}
	if e := answer.Child(nsJSON, "json"); e != nil {
		if c, ok := readContainer(e.Text); ok {
			return &core.Result{Payload: c.payload()}, nil
		}
	}
	var notes []string
	for _, c := range answer.Children {
		if !c.Is(nsCommands, "note") {
			continue
		}
		if c.Attr("type") == "error" {
			return nil, &core.Error{Code: core.Application, URI: "xmpp.error.command", Message: shorten(stream.Clean(c.Text), 1000)}
		}
		notes = append(notes, c.Text)
	}
	var p core.Payload
	var err error
	if form := answer.Child(nsForm, "x"); form != nil {
		if p, err = resultPayload(form); err != nil {
			return nil, core.Errorf(core.Internal, "read result of %s: %w", node, err)
		}
	}
	if len(notes) > 0 {
		p.Args = core.TextPayload(strings.Join(notes, "\n")).Args
	}
	return &core.Result{Payload: p}, nil
}

// callError turns the refusal of a command into an error: another bridge's own, or what
// the condition says.
func callError(stanza *stream.Element, what string) *core.Error {
	name, text := condition(stanza)
	if e := stanza.Child("", "error").Child(nsJSON, "json"); e != nil {
		if c, ok := readContainer(e.Text); ok && knownCode(core.Code(c.Code)) {
			err := &core.Error{Code: core.Code(c.Code), URI: c.URI, Payload: c.payload(), Message: shorten(text, 4000)}
			if err.Code == core.TooMany {
				err.RetryAfter = time.Second
			}
			return err
		}
	}
	code := conditionCode(name)
	switch name {
	case "item-not-found":
		code = core.NoSuchProcedure
	case "undefined-condition", "internal-server-error", "not-acceptable":
		code = core.Application
	}
	return makeError(code, name, what, text)
}

// knownCode reports whether a code may come from another bridge. The others would say
// something about this one that is not true.
func knownCode(c core.Code) bool {
	switch c {
	case core.InvalidArgument, core.Forbidden, core.NoSuchProcedure, core.NotFound, core.TooLarge, core.TooMany, core.Application,
		core.Unimplemented, core.CallbackFailed, core.Unavailable, core.Timeout, core.Canceled:
		return true
	case core.Unauthenticated, core.NoSuchBackend, core.AlreadyExists, core.CallbackForbidden, core.KeyReused, core.Internal:
	}
	return false
}
