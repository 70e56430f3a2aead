package irc

import (
	"crypto/rand"
	"log/slog"
	"strings"
	"time"

	"github.com/ergochat/irc-go/ircmsg"
	"github.com/ergochat/irc-go/ircutils"
)

// regainEvery is how often the configured nick is tried while we have another.
const regainEvery = 30 * time.Second

// nickserv is the log-in by message.
type nickserv struct {
	asked    time.Time // when IDENTIFY was sent; zero = not
	answered bool
	regained bool // the nick was asked for, and NickServ has not answered
}

// identifyPatience is how long channels wait for NickServ's answer.
const identifyPatience = 5 * time.Second

func (n *nickserv) done(now time.Time) bool {
	return !n.asked.IsZero() && (n.answered || now.Sub(n.asked) > identifyPatience)
}

// nextNick asks for another nick than the one that was refused: with underscores
// first, then with random digits.
func (c *conn) nextNick() {
	const longest = 9 // what every server takes
	want := c.s.cfg.Nick
	if len(c.nick) < len(want)+2 && strings.HasPrefix(c.nick, want) {
		c.nick += "_"
	} else {
		c.nick = ircutils.TruncateUTF8Safe(want, longest-4) + strings.ToLower(rand.Text()[:4])
	}
	c.urgent("NICK", c.nick)
}

// identify logs in with NickServ if SASL has not done it, and reports whether an
// answer is to be waited for.
func (c *conn) identify() bool {
	n := c.cfg.NickServ
	if n == nil || c.hs.saslDone || !c.ns.asked.IsZero() {
		return false
	}
	words := "IDENTIFY "
	if n.Account != "" {
		words += n.Account + " "
	}
	c.ns.asked = time.Now()
	c.urgent("PRIVMSG", n.Service, words+n.Password)
	return true
}

// fromNickServ notices NickServ's answer.
func (c *conn) fromNickServ(msg *ircmsg.Message) {
	if c.cfg.NickServ == nil || c.ns.asked.IsZero() && !c.ns.regained {
		return
	}
	name, _, _ := strings.Cut(c.cfg.NickServ.Service, "@")
	if c.s.fold.fold(msg.Nick()) != c.s.fold.fold(name) {
		return
	}
	if c.ns.regained {
		c.ns.regained = false
		if c.nick != c.s.cfg.Nick {
			c.urgent("NICK", c.s.cfg.Nick)
		}
	}
	if !c.ns.answered {
		c.ns.answered = true
		c.log().Info("irc: NickServ answered", slog.String("text", said(msg)))
		c.tickAt = time.Time{}
		c.wakeUp()
	}
}

// regain tries to get the configured nick.
func (c *conn) regain(now time.Time) {
	c.nickAt = now.Add(regainEvery)
	if n := c.cfg.NickServ; n != nil && n.regain() != "" {
		c.urgent("PRIVMSG", n.Service, n.regain()+" "+c.s.cfg.Nick)
		c.ns.regained = true
		return
	}
	c.urgent("NICK", c.s.cfg.Nick)
}

func (c *conn) tickNick(now time.Time) {
	if now.After(c.nickAt) && c.nick != c.s.cfg.Nick {
		c.regain(now)
		if c.cfg.NickServ != nil { // in case that it is free, or NickServ away
			c.urgent("NICK", c.s.cfg.Nick)
		}
	}
}

// freed tries for the configured nick when somebody has just given it up.
func (c *conn) freed(nick string) {
	if c.nick != c.s.cfg.Nick && c.s.fold.fold(nick) == c.s.fold.fold(c.s.cfg.Nick) {
		c.urgent("NICK", c.s.cfg.Nick)
	}
}

// isMe reports whether the nick is ours.
func (c *conn) isMe(nick string) bool {
	return c.is.casemapping.fold(nick) == c.is.casemapping.fold(c.nick)
}

// learn notes how the server writes our source.
func (c *conn) learn(msg *ircmsg.Message) {
	if nuh, err := msg.NUH(); err == nil && nuh.User != "" && nuh.Host != "" && len(msg.Source) < 300 {
		c.source = msg.Source
	}
}

// sourceLen is the length of our source at the head of lines that others get.
func (c *conn) sourceLen() int {
	if nuh, err := ircmsg.ParseNUH(c.source); err == nil {
		return len(c.nick) + len("!@") + len(nuh.User) + len(nuh.Host)
	}
	return len(c.nick) + len("!@") + c.is.userLen + c.is.hostLen
}
