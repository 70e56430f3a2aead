package core

import (
	"strings"
)

// Verb is what a scope allows to do.
type Verb string

// The verbs.
const (
	VerbCall      Verb = "call"
	VerbRegister  Verb = "register"
	VerbPublish   Verb = "publish"
	VerbSubscribe Verb = "subscribe"
	VerbAdmin     Verb = "admin" // has no address
)

// Grants is a list of scopes, ready to be asked. The zero value allows nothing.
// It is immutable.
type Grants struct {
	all    bool // the bare "*"
	scopes []scope
	texts  []string
}

// scope is one parsed "verb:address". In the address a final "*" stands for
// whatever follows, and a "*" that is a whole component for exactly one component.
type scope struct {
	verb    Verb
	backend string
	comps   []string // components before the final "*", or all of them
	open    bool     // ends in "*"
	tail    string   // what stands before the final "*" in its component
}

// ParseGrants reads scopes such as "call:com.shop.*", "publish:irc:#ops", "admin"
// or "*". An address without a backend belongs to defaultBackend. The error names
// the scope that is wrong.
func ParseGrants(scopes []string, defaultBackend string) (Grants, error) {
	g := Grants{texts: scopes}
	for _, text := range scopes {
		if text == "*" {
			g.all = true
			continue
		}
		s, err := parseScope(text, defaultBackend)
		if err != nil {
			return Grants{}, err
		}
		g.scopes = append(g.scopes, s)
	}
	return g, nil
}

func parseScope(text, defaultBackend string) (scope, error) {
	verb, address, hasAddress := strings.Cut(text, ":")
	s := scope{verb: Verb(verb)}
	switch s.verb {
	case VerbAdmin:
		if hasAddress {
			return scope{}, Errorf(InvalidArgument, "scope %q: admin has no address", text)
		}
		return s, nil
	case VerbCall, VerbRegister, VerbPublish, VerbSubscribe:
	default:
		return scope{}, Errorf(InvalidArgument, "scope %q: want *, admin, or one of call, register, publish, subscribe followed by a colon and an address", text)
	}
	if !hasAddress || address == "" {
		return scope{}, Errorf(InvalidArgument, "scope %q: an address is missing after the verb (%s:* for all)", text, verb)
	}
	a, err := ParseAddress(address, defaultBackend)
	if err != nil {
		return scope{}, Errorf(InvalidArgument, "scope %q: %w", text, err)
	}
	s.backend = a.Backend
	s.comps = strings.Split(a.Name, ".")
	if last := s.comps[len(s.comps)-1]; strings.HasSuffix(last, "*") {
		s.open, s.tail = true, strings.TrimSuffix(last, "*")
		s.comps = s.comps[:len(s.comps)-1]
	}
	for _, c := range append(s.comps[:len(s.comps):len(s.comps)], s.tail) {
		if c != "*" && strings.Contains(c, "*") {
			return scope{}, Errorf(InvalidArgument, "scope %q: * must be a whole component, or stand at the end", text)
		}
	}
	return s, nil
}

// Strings are the scopes as they were written.
func (g Grants) Strings() []string { return g.texts }

// Admin reports whether the admin requests are allowed.
func (g Grants) Admin() bool {
	if g.all {
		return true
	}
	for _, s := range g.scopes {
		if s.verb == VerbAdmin {
			return true
		}
	}
	return false
}

// Allow reports whether the verb is allowed on the address. Names that begin with
// "wamp." (WAMP's meta procedures and topics, which tell about other sessions)
// need the bare "*" or a scope that itself begins with "wamp.".
func (g Grants) Allow(v Verb, a Address) bool {
	if g.all {
		return true
	}
	meta := strings.HasPrefix(a.Name, "wamp.")
	for _, s := range g.scopes {
		if s.verb == v && s.backend == a.Backend && (!meta || s.meta()) && s.covers(a.Name) {
			return true
		}
	}
	return false
}

// AllowPattern reports whether the verb is allowed on everything that the pattern
// can match, by one scope.
func (g Grants) AllowPattern(v Verb, p Pattern) bool {
	if g.all {
		return true
	}
	if p.Match != Prefix && p.Match != Wildcard {
		return g.Allow(v, p.Address)
	}
	meta := touchesMeta(p)
	for _, s := range g.scopes {
		if s.verb != v || s.backend != p.Backend || meta && !s.meta() {
			continue
		}
		if p.Match == Prefix && s.open && s.covers(p.Name) || p.Match == Wildcard && s.coversWildcard(p.Name) {
			return true
		}
	}
	return false
}

// For returns the scopes that concern one backend, with addresses in that
// backend's own terms. It is what a backend with sessions of its own needs to
// apply a bridge token's scopes to them.
func (g Grants) For(backend string) []string {
	var out []string
	if g.all {
		out = append(out, "*")
	}
	for _, s := range g.scopes {
		if s.backend != backend || s.verb == VerbAdmin {
			continue
		}
		name := strings.Join(s.comps, ".")
		if s.open {
			if len(s.comps) > 0 {
				name += "."
			}
			name += s.tail + "*"
		}
		out = append(out, string(s.verb)+":"+Address{backend, name}.Text(backend))
	}
	return out
}

// meta reports whether the scope itself is about "wamp." names.
func (s scope) meta() bool { return len(s.comps) > 0 && s.comps[0] == "wamp" }

func touchesMeta(p Pattern) bool {
	const meta = "wamp."
	if p.Match == Prefix {
		return strings.HasPrefix(p.Name, meta) || strings.HasPrefix(meta, p.Name)
	}
	first, _, more := strings.Cut(p.Name, ".")
	return more && (first == "" || first == "wamp")
}

// covers reports whether the scope's address matches name. For an open scope it
// then also matches everything that begins with name.
func (s scope) covers(name string) bool {
	for i, c := range s.comps {
		comp, rest, more := strings.Cut(name, ".")
		last := i == len(s.comps)-1 && !s.open
		if more == last || comp != c && (c != "*" || comp == "") {
			return false
		}
		if last {
			return true
		}
		name = rest
	}
	return strings.HasPrefix(name, s.tail)
}

// coversWildcard reports whether everything the wildcard pattern can match is
// covered. An empty component of the pattern can be anything.
func (s scope) coversWildcard(pattern string) bool {
	comps := strings.Split(pattern, ".")
	if len(comps) < len(s.comps) || !s.open && len(comps) != len(s.comps) || s.open && len(comps) == len(s.comps) {
		return false
	}
	for i, c := range s.comps {
		if c != "*" && comps[i] != c {
			return false
		}
	}
	return !s.open || s.tail == "" || strings.HasPrefix(comps[len(s.comps)], s.tail)
}
