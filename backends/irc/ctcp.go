package irc

import (
	"time"

	"github.com/ergochat/irc-go/ircmsg"
	"github.com/ergochat/irc-go/ircutils"
)

// How many CTCP requests are answered, all askers together.
const (
	ctcpBurst    = 3
	ctcpInterval = 5 * time.Second
)

// handleCTCP answers VERSION, PING and TIME (https://modern.ircdocs.horse/ctcp).
// Answers come as NOTICE and are never answered.
func (c *conn) handleCTCP(msg *ircmsg.Message, command, rest string) {
	now := time.Now()
	if msg.Command != "PRIVMSG" || !c.isMe(msg.Params[0]) || !validNick(msg.Nick()) {
		return
	}
	var answer string
	switch command {
	case "VERSION":
		answer = c.s.cfg.Version
	case "PING":
		const longest = 64
		answer = ircutils.TruncateUTF8Safe(plain(rest), longest)
	case "TIME":
		answer = now.UTC().Format(time.RFC3339)
	default:
		return
	}
	if c.ctcp.take(now) {
		c.urgent("NOTICE", msg.Nick(), "\x01"+command+" "+answer+"\x01")
	}
}
