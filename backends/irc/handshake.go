package irc

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/ergochat/irc-go/ircmsg"
	"github.com/ergochat/irc-go/ircutils"

	"github.com/anybridge/anybridge/core"
)

// handshake is what is under way until the server has welcomed us: PASS, CAP, SASL,
// NICK and USER (https://modern.ircdocs.horse, "Connection Registration").
type handshake struct {
	started  time.Time
	offered  map[string]string // capabilities with their values
	asked    []string          // still to be answered
	saslDone bool
}

// capabilities are those we ask for where they are offered; sasl comes on top.
func capabilities() []string {
	return []string{"message-tags", "server-time", "account-tag", "echo-message", "batch", "labeled-response", "chghost"}
}

// refused is an answer of the server's that will be the same next time; see kit.Link.
func refused(format string, args ...any) error {
	return core.Errorf(core.Forbidden, format, args...)
}

func (c *conn) startHandshake() {
	c.hs = handshake{started: time.Now(), offered: map[string]string{}}
	c.urgent("CAP", "LS", "302")
	if c.cfg.Password != "" {
		c.urgent("PASS", c.cfg.Password)
	}
	c.nick = c.s.cfg.Nick
	c.urgent("NICK", c.nick)
	c.urgent("USER", c.cfg.User, "0", "*", c.cfg.Realname)
}

// tickHandshake ends a handshake that takes too long, and does without the end of the
// greeting when only that is missing.
func (c *conn) tickHandshake(now time.Time) error {
	const greeting = 10 * time.Second
	if !c.welcomedAt.IsZero() && (now.Sub(c.welcomedAt) > greeting || c.ns.done(now)) {
		return c.welcomed(now)
	}
	if now.Sub(c.hs.started) > registerTimeout {
		return errors.New("the server did not welcome us in time")
	}
	return nil
}

// handleHandshake handles what comes before the end of the greeting. It reports
// whether the message was one of those.
func (c *conn) handleHandshake(msg *ircmsg.Message) (bool, error) {
	switch msg.Command {
	case "AUTHENTICATE":
		c.authenticate(msg)
	case "903", "907": // logged in, already authenticated
		if !c.hs.saslDone {
			c.hs.saslDone = true
			c.urgent("CAP", "END")
		}
	case "902", "904", "905", "906", "908":
		if c.cfg.SASL != nil && c.welcomedAt.IsZero() {
			return true, refused("sasl: %s", said(msg))
		}
	case "432": // erroneous nick
		if !c.welcomedAt.IsZero() {
			return false, nil
		}
		if c.nick == c.s.cfg.Nick {
			return true, refused("nick %q: %s", c.nick, said(msg))
		}
		c.nextNick()
	case "433", "436", "437": // in use, collision, unavailable
		if c.welcomedAt.IsZero() {
			c.nextNick()
			return true, nil
		}
		return false, nil
	case "464", "465", "463": // wrong password, banned, not permitted
		if c.welcomedAt.IsZero() {
			c.goneWhy = refused("the server refused us: %s", said(msg))
		}
	case "001":
		return true, c.welcome(msg)
	case "376", "422": // end of the greeting, or none
		if !c.registered.IsZero() || c.welcomedAt.IsZero() {
			return true, nil
		}
		if c.identify() {
			return true, nil // tickHandshake goes on
		}
		return true, c.welcomed(time.Now())
	default:
		return false, nil
	}
	return true, nil
}

// handleCAP handles the negotiation, and later changes.
func (c *conn) handleCAP(msg *ircmsg.Message) error {
	if len(msg.Params) < 3 {
		return nil
	}
	list := strings.Fields(msg.Params[len(msg.Params)-1])
	switch strings.ToUpper(msg.Params[1]) {
	case "LS":
		for _, item := range list {
			name, value, _ := strings.Cut(item, "=")
			if len(c.hs.offered) < 200 {
				c.hs.offered[name] = value
			}
		}
		if msg.Params[2] != "*" && c.welcomedAt.IsZero() && c.hs.asked == nil {
			return c.request()
		}
	case "ACK":
		for _, name := range list {
			if off, ok := strings.CutPrefix(name, "-"); ok {
				delete(c.caps, off)
			} else if slices.Contains(append(capabilities(), "sasl"), name) {
				c.caps[name] = true
			}
		}
		return c.answered(list)
	case "NAK":
		return c.answered(list)
	case "DEL":
		for _, name := range list {
			delete(c.caps, name)
		}
	}
	return nil
}

// request asks for the capabilities that the server offers, each on its own so that
// one refusal does not cost the others.
func (c *conn) request() error {
	for _, name := range append(capabilities(), "sasl") {
		if _, offered := c.hs.offered[name]; offered && (name != "sasl" || c.cfg.SASL != nil) {
			c.hs.asked = append(c.hs.asked, name)
		}
	}
	for _, name := range c.hs.asked {
		c.urgent("CAP", "REQ", name)
	}
	return c.answered(nil)
}

// answered goes on when everything that was asked is answered.
func (c *conn) answered(list []string) error {
	before := len(c.hs.asked)
	c.hs.asked = slices.DeleteFunc(c.hs.asked, func(name string) bool { return slices.Contains(list, name) })
	if len(c.hs.asked) > 0 || !c.welcomedAt.IsZero() || before == 0 && list != nil {
		return nil
	}
	switch {
	case c.cfg.SASL == nil:
		c.urgent("CAP", "END")
	case c.caps["sasl"]:
		c.urgent("AUTHENTICATE", strings.ToUpper(c.cfg.SASL.Mechanism))
	case c.cfg.NickServ != nil:
		c.log().Warn("irc: the server does not offer SASL; NickServ is asked instead")
		c.urgent("CAP", "END")
	default:
		return errors.New("sasl: the server does not offer it (and nickserv is not configured)")
	}
	return nil
}

// authenticate answers the server's AUTHENTICATE (IRCv3 SASL 3.2, RFC 4616).
func (c *conn) authenticate(msg *ircmsg.Message) {
	s := c.cfg.SASL
	if s == nil || c.hs.saslDone || !c.welcomedAt.IsZero() || len(msg.Params) == 0 || msg.Params[0] != "+" {
		return
	}
	var response []byte
	if s.Mechanism == "plain" {
		response = []byte("\x00" + s.Account + "\x00" + s.Password)
	} else {
		response = []byte(s.Account)
	}
	for _, piece := range ircutils.EncodeSASLResponse(response) {
		c.urgent("AUTHENTICATE", piece)
	}
}

// welcome handles 001: the server knows us, by a nick it may have changed.
func (c *conn) welcome(msg *ircmsg.Message) error {
	if !c.welcomedAt.IsZero() {
		return nil
	}
	if c.cfg.SASL != nil && !c.hs.saslDone && c.cfg.NickServ == nil {
		return errors.New("sasl: the server welcomed us without it")
	}
	c.welcomedAt = time.Now()
	if len(msg.Params) > 0 && validNick(msg.Params[0]) {
		c.nick = msg.Params[0]
	}
	return nil
}

// welcomed ends the handshake: from here on everything works.
func (c *conn) welcomed(now time.Time) error {
	c.registered, c.nickAt = now, now.Add(regainEvery)
	if c.is.bot != "" {
		c.urgent("MODE", c.nick, "+"+c.is.bot)
	}
	c.s.attach(c)
	if c.nick != c.s.cfg.Nick {
		c.regain(now)
	}
	c.joinWanted(now)
	return nil
}

// said is the text of a message for people, without control characters.
func said(msg *ircmsg.Message) string {
	if len(msg.Params) == 0 {
		return msg.Command
	}
	return plainShort(msg.Params[len(msg.Params)-1])
}

// plainShort makes foreign text fit for messages and logs.
func plainShort(text string) string {
	text = plain(strings.ToValidUTF8(text, "\uFFFD"))
	const long = 200
	return ircutils.TruncateUTF8Safe(text, long)
}
