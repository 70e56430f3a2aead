package irc

import (
	"fmt"
	"strings"

	"github.com/ergochat/irc-go/ircmsg"
)

// batch is an open IRCv3 batch.
type batch struct{ kind, label string }

// maxBatches bounds the batches that are open at once.
const maxBatches = 64

// handle handles one message. An error ends the connection.
func (c *conn) handle(msg *ircmsg.Message) error {
	if handled, err := c.handleHandshake(msg); handled || err != nil {
		c.handleConfirmation(msg)
		return err
	}
	param := func(i int) string {
		if i >= 0 && i < len(msg.Params) {
			return msg.Params[i]
		}
		return ""
	}
	switch msg.Command {
	case "PING":
		c.urgent("PONG", param(0))
	case "PONG":
		c.confirmed(param(len(msg.Params) - 1))
	case "ERROR":
		if c.goneWhy == nil {
			c.goneWhy = fmt.Errorf("the server closed the connection: %s", said(msg))
		}
	case "CAP":
		return c.handleCAP(msg)
	case "BATCH":
		c.handleBatch(param(0), param(1), msg)
	case "005":
		if len(msg.Params) > 2 {
			c.is.read(msg.Params[1 : len(msg.Params)-1])
			if c.s.conn == c {
				c.s.refold(c.is.casemapping)
			}
		}
	case "396": // our host, as others see it from now on
		if nuh, err := ircmsg.ParseNUH(c.source); err == nil && len(param(1)) < 200 {
			nuh.Host = param(1)
			if _, host, ok := strings.Cut(param(1), "@"); ok {
				nuh.Host = host
			}
			c.source = nuh.Canonical()
		}
	case "900": // logged in
		c.ns.answered = true
	case "CHGHOST":
		if c.isMe(msg.Nick()) && len(param(0))+len(param(1)) < 200 {
			c.source = c.nick + "!" + param(0) + "@" + param(1)
		}
	case "NICK":
		c.handleNick(msg.Nick(), param(0))
	case "QUIT":
		c.s.callerGone(msg.Nick())
		c.freed(msg.Nick())
	case "JOIN":
		if c.isMe(msg.Nick()) {
			c.learn(msg)
			c.joined(param(0))
		}
	case "PART":
		if !c.isMe(msg.Nick()) || !c.parted(param(0)) {
			c.left(msg.Nick(), param(0), "parted")
		}
	case "KICK":
		c.left(param(1), param(0), fmt.Sprintf("kicked by %s: %s", plainShort(msg.Nick()), said(msg)))
	case "PRIVMSG", "NOTICE":
		c.handleText(msg)
	default:
		c.handleNumeric(msg)
		c.handleConfirmation(msg)
	}
	return nil
}

func (c *conn) handleNick(from, to string) {
	if to == "" {
		return
	}
	if c.isMe(from) {
		c.nick = to
		return
	}
	c.s.callerRenamed(from, to)
	c.freed(from)
}

func (c *conn) handleBatch(ref, kind string, msg *ircmsg.Message) {
	switch {
	case strings.HasPrefix(ref, "+"):
		if len(c.batches) < maxBatches {
			b := batch{kind: kind}
			_, b.label = msg.GetTag("label")
			if _, outer := msg.GetTag("batch"); outer != "" && b.label == "" {
				b.label = c.batches[outer].label
				if isHistory(c.batches[outer].kind) {
					b.kind = c.batches[outer].kind
				}
			}
			c.batches[ref[1:]] = b
		}
	case strings.HasPrefix(ref, "-"):
		if b, ok := c.batches[ref[1:]]; ok {
			delete(c.batches, ref[1:])
			if b.label != "" {
				c.labelEnded(b.label)
			}
		}
	}
}

// isHistory reports whether a batch of this type plays back what was said earlier.
func isHistory(kind string) bool { return kind == "chathistory" || kind == "znc.in/playback" }

// label is the label of the line that a message answers, or "".
func (c *conn) label(msg *ircmsg.Message) string {
	if ok, label := msg.GetTag("label"); ok {
		return label
	}
	if ok, ref := msg.GetTag("batch"); ok {
		return c.batches[ref].label
	}
	return ""
}
