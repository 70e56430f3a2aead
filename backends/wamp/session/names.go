package session

import (
	"strings"
	"unicode"

	"github.com/anybridge/anybridge/core"
)

// checkName holds a name against WAMP's loose URI rules (WAMP specification,
// "URIs") for a match policy: components are split at dots, hold neither white
// space nor "#", and are empty only where the policy allows it: any of a wildcard,
// the last of a prefix. The error says which component is wrong.
func checkName(what, name string, match core.Match) error {
	components := strings.Split(name, ".")
	for i, c := range components {
		if c == "" {
			switch {
			case match == core.Wildcard, match == core.Prefix && i == len(components)-1:
				continue
			case name == "":
				return core.Errorf(core.InvalidArgument, "%s name is empty", what)
			}
			return core.Errorf(core.InvalidArgument, "%s %q: component %d of %d is empty", what, name, i+1, len(components))
		}
		at := strings.IndexFunc(c, func(r rune) bool { return r == '#' || unicode.IsSpace(r) })
		if at < 0 {
			continue
		}
		bad := "white space"
		if c[at] == '#' {
			bad = "a #"
		}
		return core.Errorf(core.InvalidArgument, "%s %q: component %d (%q) has %s, which WAMP does not allow", what, name, i+1, c, bad)
	}
	return nil
}
