package irc

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/anybridge/anybridge/core"
)

// helpCommand lists the commands; no procedure can have its name.
const helpCommand = "help"

// callDetails is what an invocation tells of the caller.
type callDetails struct {
	Caller  string `json:"caller"`
	AuthID  string `json:"caller_authid,omitempty"`
	Source  string `json:"source,omitempty"`  // nick!user@host
	Channel string `json:"channel,omitempty"` // where the command was written; private without
}

// handleCommand handles a message that may be a command. target is where it was
// written.
func (c *conn) handleCommand(target, text string, d details) {
	s := c.s
	rest, ok := strings.CutPrefix(text, s.cfg.Commands.Prefix)
	if !ok || len(s.procs) == 0 || s.closed || !validNick(d.Publisher) {
		return
	}
	word, rest, _ := strings.Cut(rest, " ")
	name := strings.ToLower(word)
	if !validCommand(name) {
		return
	}
	a := &call{s: s, conn: c, nick: d.Publisher}
	if isChannel(target, c.is.chanTypes) {
		a.channel = target
	}
	reg := s.procs[name]
	if reg == nil && name != helpCommand && a.channel != "" {
		return // somebody else's command, perhaps
	}
	now := time.Now()
	s.counters["commands"]++
	if ok, tell := s.allowUser(rateKey(d), now); !ok {
		s.counters["commands_refused"]++
		if tell {
			a.say("not so fast, please")
		}
		return
	}
	switch {
	case name == helpCommand:
		a.say(s.help(strings.TrimSpace(rest)))
	case reg == nil:
		a.say(fmt.Sprintf("there is no command %s; try %s%s", word, s.cfg.Commands.Prefix, helpCommand))
	case len(s.calls) >= s.cfg.Commands.Concurrent:
		s.counters["commands_refused"]++
		a.say("too many commands are under way; try again later")
	default:
		payload, err := parseArguments(rest)
		if err != nil {
			a.say(err.Error())
			return
		}
		cd := callDetails{Caller: d.Publisher, AuthID: d.AuthID, Source: d.Source}
		if a.channel != "" {
			cd.Channel = spellable(a.channel)
			if ch := s.chans[s.fold.fold(a.channel)]; ch != nil {
				cd.Channel = ch.name
			}
		}
		a.start(reg, payload, cd, now)
	}
}

// validCommand reports whether a procedure's name can be written as a command.
func validCommand(name string) bool {
	const longest = 100
	return name != "" && len(name) <= longest && strings.IndexByte("!.,:;?=-_", name[0]) < 0 && !hasControl(name) &&
		!strings.ContainsAny(name, "\"=,")
}

func (s *session) help(name string) string {
	prefix := s.cfg.Commands.Prefix
	name = strings.ToLower(strings.TrimPrefix(name, prefix))
	if name == "" {
		names := slices.Sorted(maps.Keys(s.procs))
		return "commands: " + prefix + strings.Join(names, " "+prefix) + " (" + prefix + helpCommand + " NAME tells more)"
	}
	reg := s.procs[name]
	if reg == nil {
		return "there is no command " + name
	}
	return fmt.Sprintf(`%s%s WORD "TWO WORDS" KEY=VALUE … calls %s`, prefix, name, reg.procedure)
}

// userRate is how fast one user has written commands.
type userRate struct {
	bucket
	told bool // that it is too fast
}

// maxUsers bounds the table of users; beyond it, all others share one rate.
const maxUsers = 1000

// rateKey is what tells users apart: the account, or user and host, so that a new
// nick changes nothing.
func rateKey(d details) string {
	if d.AuthID != "" {
		return "account " + d.AuthID
	}
	if _, host, ok := strings.Cut(d.Source, "!"); ok {
		return host
	}
	return d.Publisher
}

// allowUser reports whether the user may write a command now and, if not, whether to
// say so.
func (s *session) allowUser(key string, now time.Time) (ok, tell bool) {
	rate := s.cfg.Commands.Rate
	u := s.users[key]
	if u == nil && len(s.users) >= maxUsers {
		maps.DeleteFunc(s.users, func(_ string, u *userRate) bool { return u.wait(rate.Burst, now) == 0 })
		if len(s.users) >= maxUsers {
			key = ""
			u = s.users[key]
		}
	}
	if u == nil {
		u = &userRate{bucket: newBucket(rate.Burst, rate.Interval, now)}
		s.users[key] = u
	}
	if u.take(now) {
		u.told = false
		return true, false
	}
	tell, u.told = !u.told, true
	return false, tell
}

// errorText is an error as people in a chat should read it: short, and without what
// is none of their business.
func errorText(err error) string {
	e := core.AsError(err)
	text := e.Message
	switch e.Code {
	case core.Application:
		if text == "" {
			text = e.Text()
		}
		if text == "" {
			text = e.URI
		}
	case core.InvalidArgument, core.TooLarge, core.TooMany, core.NotFound, core.Forbidden:
	case core.NoSuchProcedure:
		text = "nobody offers this any more"
	case core.Timeout:
		text = "it took too long"
	case core.Canceled, core.Unavailable:
		text = "not available now; try again later"
	default:
		text = "it failed"
	}
	l := lines(text)
	if len(l) == 0 {
		return "error"
	}
	return "error: " + plainShort(l[0])
}

func marshalDetails(cd callDetails) json.RawMessage {
	b, _ := json.Marshal(cd) // strings always have a JSON
	return b
}
