package irc

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/anybridge/anybridge/core"
)

// casemapping says which characters a server takes for the same (ISUPPORT
// CASEMAPPING).
type casemapping string

const (
	ascii         casemapping = "ascii"
	rfc1459       casemapping = "rfc1459"
	rfc1459strict casemapping = "rfc1459-strict"
)

// defaultChanTypes are the characters that channel names begin with, unless the
// server says otherwise.
const defaultChanTypes = "#&+!"

// privateTopic is the topic of all messages that are sent to our nick.
const privateTopic = "@me"

// fold makes names that the server takes for the same equal.
func (c casemapping) fold(name string) string {
	last := byte('^') // rfc1459: {}|~ are the lower case of []\^
	switch c {
	case ascii:
		last = 'Z'
	case rfc1459strict:
		last = ']'
	case rfc1459:
	default: // rfc7613 and others to come
		return strings.ToLower(name)
	}
	i := 0
	for i < len(name) && (name[i] < 'A' || name[i] > last) {
		i++
	}
	if i == len(name) {
		return name
	}
	b := []byte(name)
	for ; i < len(b); i++ {
		if b[i] >= 'A' && b[i] <= last {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}

// isChannel reports whether the name is a channel's by its first character.
func isChannel(name, chanTypes string) bool {
	return name != "" && strings.IndexByte(chanTypes, name[0]) >= 0
}

// validChannel says what is wrong with the name of a channel.
func validChannel(name, chanTypes string) error {
	switch {
	case !isChannel(name, chanTypes):
		return core.Errorf(core.InvalidArgument, "a channel's name begins with one of %s", chanTypes)
	case len(name) < 2 || len(name) > maxChannelLen:
		return core.Errorf(core.InvalidArgument, "a channel's name has 2 to %d bytes", maxChannelLen)
	case strings.ContainsAny(name, " ,:") || hasControl(name):
		return core.Errorf(core.InvalidArgument, "a channel's name has no space, comma, colon or control character")
	}
	return nil
}

const (
	maxChannelLen = 200 // RFC 1459
	maxNickLen    = 64  // longer than any known network's
)

// validNick keeps out whatever a server could read as something else than a nick:
// masks, user@host, lists, channels.
func validNick(name string) bool {
	return name != "" && len(name) <= maxNickLen && !strings.ContainsAny(name[:1], "#&+!@%~$:=") &&
		!strings.ContainsAny(name, " ,*?!@%.$:") && !hasControl(name)
}

func hasControl(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) })
}

// validTarget says what is wrong with a name to publish to.
func validTarget(name, chanTypes string) error {
	if isChannel(name, chanTypes) {
		return validChannel(name, chanTypes)
	}
	if !validNick(name) {
		return core.Errorf(core.InvalidArgument, "%q is neither a channel nor a nick", name)
	}
	return nil
}

// spellable makes a name from the network fit for an address, or returns "".
func spellable(name string) string {
	name = strings.ToValidUTF8(name, "\uFFFD")
	if (core.Address{Backend: "irc", Name: name}).Valid() != nil {
		return ""
	}
	return name
}
