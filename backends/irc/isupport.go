package irc

import (
	"strconv"
	"strings"
)

// isupport is what a server says of itself in RPL_ISUPPORT (005), as far as it
// matters here.
type isupport struct {
	casemapping casemapping
	chanTypes   string
	statusMsg   string // prefixes of channels that address some of the members
	channelLen  int
	nickLen     int
	userLen     int
	hostLen     int
	lineLen     int
	maxTargets  int    // channels in one JOIN
	bot         string // the user mode of bots
	denyTags    string // CLIENTTAGDENY
}

func defaultISupport() isupport {
	return isupport{
		casemapping: rfc1459, chanTypes: defaultChanTypes, channelLen: maxChannelLen, nickLen: maxNickLen,
		userLen: 12, hostLen: 63, lineLen: 512, maxTargets: 10,
	}
}

// read takes in the tokens of one line.
func (i *isupport) read(tokens []string) {
	for _, token := range tokens {
		key, value, _ := strings.Cut(token, "=")
		switch key {
		case "CASEMAPPING":
			i.casemapping = casemapping(value)
			if value == "strict-rfc1459" {
				i.casemapping = rfc1459strict
			}
		case "CHANTYPES":
			i.chanTypes = value
		case "STATUSMSG":
			i.statusMsg = value
		case "CHANNELLEN":
			readInt(&i.channelLen, value, 2, maxChannelLen)
		case "NICKLEN":
			readInt(&i.nickLen, value, 1, maxNickLen)
		case "USERLEN":
			readInt(&i.userLen, value, 1, 64)
		case "HOSTLEN":
			readInt(&i.hostLen, value, 1, 128)
		case "LINELEN":
			readInt(&i.lineLen, value, 512, 4096)
		case "TARGMAX":
			for limit := range strings.SplitSeq(value, ",") {
				if command, n, _ := strings.Cut(limit, ":"); command == "JOIN" {
					readInt(&i.maxTargets, n, 1, 10)
				}
			}
		case "BOT":
			if len(value) == 1 && value[0] > ' ' {
				i.bot = value
			}
		case "CLIENTTAGDENY":
			i.denyTags = value
		}
	}
}

// readInt reads a number that is at least low; above high it counts as high.
func readInt(to *int, text string, low, high int) {
	if n, err := strconv.Atoi(text); err == nil && n >= low {
		*to = min(n, high)
	}
}

// clientTag reports whether the server passes the client-only tag on.
func (i *isupport) clientTag(name string) bool {
	all := false
	for tag := range strings.SplitSeq(i.denyTags, ",") {
		switch tag {
		case "*":
			all = true
		case name:
			return false
		case "-" + name:
			return true
		}
	}
	return !all
}
