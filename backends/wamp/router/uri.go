package router

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/anybridge/anybridge/core"
	"github.com/gammazero/nexus/v3/wamp"
)

// validURI checks the loose form (WAMP specification, "URIs"): components without
// whitespace, control characters and "#", none of them empty except as the match
// policy allows. It is stricter than nexus' own check, never laxer.
func validURI(u wamp.URI, match core.Match) bool {
	s := string(u)
	if len(s) > core.MaxNameLen || s == "" && match == core.Exact {
		return false
	}
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r == '#' || unicode.IsSpace(r) || unicode.IsControl(r) {
			return false
		}
	}
	switch match {
	case core.Wildcard:
		return true
	case core.Prefix:
		return !strings.HasPrefix(s, ".") && !strings.Contains(s, "..")
	}
	return !strings.HasPrefix(s, ".") && !strings.HasSuffix(s, ".") && !strings.Contains(s, "..")
}

// reserved reports whether the URI is one of the protocol's own, or a pattern that
// asks for those.
func reserved(u wamp.URI) bool { return strings.HasPrefix(string(u), "wamp.") }

// matchOf returns the match policy of checked options.
func matchOf(options wamp.Dict) core.Match {
	s, _ := options[wamp.OptMatch].(string)
	m, err := core.ParseMatch(s)
	if err != nil {
		return core.Exact
	}
	return m
}

// patternOf is what a SUBSCRIBE or REGISTER with checked options asks for.
func patternOf(u wamp.URI, options wamp.Dict) core.Pattern {
	return core.Pattern{Address: address(u), Match: matchOf(options)}
}

func address(u wamp.URI) core.Address { return core.Address{Backend: ownBackend, Name: string(u)} }
