package core

import "strings"

// Match is a pattern's match policy, with WAMP's names and rules (WAMP draft,
// "Pattern-based Subscriptions").
type Match string

const (
	// Exact matches the same name only.
	Exact Match = "exact"
	// Prefix matches every name that begins with the pattern's characters:
	// "com.shop" matches "com.shop.order" and "com.shopping".
	Prefix Match = "prefix"
	// Wildcard compares component by component, split at dots. An empty component
	// of the pattern stands for exactly one component, whatever it is:
	// "com..created" matches "com.order.created".
	Wildcard Match = "wildcard"
)

// ParseMatch reads a match policy; the empty string is Exact.
func ParseMatch(s string) (Match, error) {
	switch m := Match(s); m {
	case "":
		return Exact, nil
	case Exact, Prefix, Wildcard:
		return m, nil
	}
	return "", Errorf(InvalidArgument, "match policy %q: want exact, prefix or wildcard", s)
}

// Pattern is an address with a match policy: what a subscription or a registration
// asks for. Two patterns are the same when they are equal.
type Pattern struct {
	Address
	Match Match
}

// Matches reports whether the pattern covers the concrete address a. To match one
// address against many patterns use a PatternTable.
func (p Pattern) Matches(a Address) bool {
	if p.Backend != a.Backend {
		return false
	}
	switch p.Match {
	case Prefix:
		return strings.HasPrefix(a.Name, p.Name)
	case Wildcard:
		return wildcardMatches(p.Name, a.Name)
	default:
		return p.Name == a.Name
	}
}

// String is the address, followed by the policy when it is not Exact.
func (p Pattern) String() string {
	if p.Match == "" || p.Match == Exact {
		return p.Address.String()
	}
	return p.Address.String() + " (" + string(p.Match) + ")"
}

func wildcardMatches(pattern, name string) bool {
	for {
		pc, prest, pmore := strings.Cut(pattern, ".")
		nc, nrest, nmore := strings.Cut(name, ".")
		if pc != "" && pc != nc || pc == "" && nc == "" || pmore != nmore {
			return false
		}
		if !pmore {
			return true
		}
		pattern, name = prest, nrest
	}
}
