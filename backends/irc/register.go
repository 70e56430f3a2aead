package irc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anybridge/anybridge/core"
)

// registration is one of the host's registrations.
type registration struct {
	*core.Pipe[*core.Invocation]
	s         *session
	procedure core.Address
	command   string
	waiting   map[*core.Invocation]*call // not taken yet; the session's mu guards it
}

// maxWaiting bounds the invocations that wait to be taken.
const maxWaiting = 1000

// register offers a procedure as a command.
func (s *session) register(p core.Pattern, o core.RegisterOptions) (core.Stream[*core.Invocation], error) {
	command := strings.ToLower(p.Name)
	switch {
	case p.Match != core.Exact && p.Match != "":
		return nil, core.Errorf(core.Unimplemented, "procedures on IRC have exact names")
	case o.Invoke != "" && o.Invoke != "single":
		return nil, core.Errorf(core.Unimplemented, "procedures on IRC have one registration")
	case !validCommand(command):
		return nil, core.Errorf(core.InvalidArgument, "%q cannot be written as a command: want one word without quotes, commas and =, that begins with no punctuation", p.Name)
	case command == helpCommand:
		return nil, core.Errorf(core.AlreadyExists, "%q is the command that lists the others", p.Name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, s.link.Unavailable()
	}
	if s.procs[command] != nil {
		return nil, core.Errorf(core.AlreadyExists, "the command %s is registered already", command)
	}
	reg := &registration{s: s, procedure: p.Address, command: command, waiting: map[*core.Invocation]*call{}}
	reg.Pipe = core.NewPipe[*core.Invocation](maxWaiting, 0, func() { s.unregister(reg) })
	s.procs[command] = reg
	return reg, nil
}

// Next implements core.Stream.
func (reg *registration) Next(ctx context.Context) ([]*core.Invocation, error) {
	batch, err := reg.Pipe.Next(ctx)
	if err == nil {
		reg.s.mu.Lock()
		for _, inv := range batch {
			delete(reg.waiting, inv)
		}
		reg.s.mu.Unlock()
	}
	return batch, err
}

func (s *session) unregister(reg *registration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.procs[reg.command] == reg {
		delete(s.procs, reg.command)
	}
	for _, a := range reg.waiting {
		a.answer(nil, core.Errorf(core.Unavailable, "unregistered"))
	}
	clear(reg.waiting)
}

// call is a command under way. The session's mu guards it.
type call struct {
	s        *session
	conn     *conn
	nick     string // who asked, by the nick of now
	channel  string // where; "" in private
	deadline time.Time
	canceled chan struct{}
}

// start hands the command to whoever registered the procedure.
func (a *call) start(reg *registration, payload core.Payload, cd callDetails, now time.Time) {
	timeout := a.s.cfg.Commands.Timeout
	a.deadline, a.canceled = now.Add(timeout), make(chan struct{})
	inv := &core.Invocation{
		ID: core.NewID("inv"), Procedure: reg.procedure, Payload: payload, Details: marshalDetails(cd),
		Timeout: timeout, Canceled: a.canceled,
		Reply: func(r *core.Result, err error) {
			a.s.mu.Lock()
			defer a.s.mu.Unlock()
			a.answer(r, err)
		},
	}
	if !reg.TryPut(inv, inv.Size()) {
		a.s.counters["commands_refused"]++
		a.say("too many commands are under way; try again later")
		return
	}
	reg.waiting[inv] = a
	a.s.calls[a] = struct{}{}
}

// answer ends the call; only the first answer counts.
func (a *call) answer(r *core.Result, err error) {
	if !a.end() {
		return
	}
	switch {
	case err != nil:
		a.say(errorText(err))
	case r == nil:
		a.say("ok")
	default:
		text := r.Text()
		if len(lines(text)) == 0 {
			text = "ok"
		}
		a.say(text)
	}
}

// end takes the call out of the table and reports whether it was in it.
func (a *call) end() bool {
	if _, open := a.s.calls[a]; !open {
		return false
	}
	delete(a.s.calls, a)
	close(a.canceled)
	return true
}

// say sends an answer: in a channel with the asker's nick in front of each line, so
// that no line can be another bot's command; in private as NOTICE, which bots do not
// answer. Of many lines the first ones are sent.
func (a *call) say(text string) {
	c, to := a.conn, a.channel
	if a.s.conn != c {
		return
	}
	m, front := message{kind: "PRIVMSG"}, a.nick+": "
	if a.channel == "" {
		m.kind, to, front = "NOTICE", a.nick, ""
	}
	limit := c.is.lineLen - len(": ") - c.sourceLen() - len(m.kind+"  :\r\n") - len(to) - len(front)
	for _, l := range lines(text) {
		for _, piece := range split(l, max(limit, 32)) {
			m.lines = append(m.lines, front+piece)
		}
	}
	if most := a.s.cfg.Commands.MaxLines; len(m.lines) > most {
		more := "lines"
		if len(m.lines) == most+1 {
			more = "line"
		}
		m.lines = append(m.lines[:most:most], fmt.Sprintf("%s… (%d %s more)", front, len(m.lines)-most, more))
	}
	if c.out.queued+len(m.lines) > a.s.cfg.Flood.Queue {
		a.s.counters["answers_dropped"]++
		return
	}
	j := &job{target: c.is.casemapping.fold(to), to: to, kind: m.kind, texts: m.lines, total: len(m.lines), done: make(chan struct{})}
	c.enqueue(j)
}

// tickCalls ends the calls that take too long.
func (s *session) tickCalls(now time.Time) {
	for a := range s.calls {
		if now.After(a.deadline) {
			a.answer(nil, core.Errorf(core.Timeout, "the procedure took longer than %s", s.cfg.Commands.Timeout))
		}
	}
}

// cancelCalls ends all calls without an answer. s.mu is held.
func (s *session) cancelCalls() {
	for a := range s.calls {
		a.end()
	}
}

// callerGone cancels the calls of somebody who has left.
func (s *session) callerGone(nick string) {
	for _, a := range s.callsOf(nick) {
		a.end()
	}
}

// callerRenamed sends the answers to where the caller is now.
func (s *session) callerRenamed(from, to string) {
	for _, a := range s.callsOf(from) {
		if validNick(to) {
			a.nick = to
		} else {
			a.end()
		}
	}
}

func (s *session) callsOf(nick string) (found []*call) {
	for a := range s.calls {
		if s.fold.fold(a.nick) == s.fold.fold(nick) {
			found = append(found, a)
		}
	}
	return slices.Clip(found)
}
