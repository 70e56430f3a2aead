package rest

import (
	"strings"

	"github.com/anybridge/anybridge/core"
)

// bearer authenticates by the Authorization header, if there is one (RFC 6750,
// section 2.1). It comes before the body is read.
func (x *exchange) bearer() error {
	values := x.r.Header["Authorization"]
	if len(values) == 0 {
		return nil
	}
	if len(values) > 1 {
		return core.Errorf(core.InvalidArgument, "more than one Authorization header")
	}
	scheme, text, _ := strings.Cut(strings.TrimSpace(values[0]), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		x.challenge("")
		return core.Errorf(core.Unauthenticated, `want "Authorization: Bearer …"`)
	}
	return x.authenticate(strings.TrimSpace(text))
}

// identify authenticates by the token in the body, unless the header did already.
// Saying two different things is a mistake.
func (x *exchange) identify(fromBody string) error {
	if x.token == nil {
		return x.authenticate(fromBody)
	}
	if fromBody != "" && fromBody != x.text {
		return core.Errorf(core.InvalidArgument, `the Authorization header and "token" in the body differ: send one of them`)
	}
	return nil
}

func (x *exchange) authenticate(text string) error {
	g := x.f.guesses
	origin := g.origin(x.r.RemoteAddr)
	if wait := g.wait(origin, text, x.f.clock); wait > 0 {
		return x.wrongToken(origin, tooManyGuesses(wait))
	}
	token, err := x.f.o.Tokens().Authenticate(text)
	if err != nil {
		x.challenge(text)
		if text == "" {
			return err
		}
		if !core.MistypedToken(text) {
			if _, wait, ok := g.slot(origin).wrong.take(x.f.clock(), g.wrong); !ok {
				err = tooManyGuesses(wait)
			}
		}
		return x.wrongToken(origin, err)
	}
	g.right(origin, text)
	x.token, x.text = token, text
	gate := x.f.admission.gate(token.Name)
	if token.Limits.PerSecond > 0 {
		if err := x.spend(gate, token.Limits); err != nil {
			return err
		}
	}
	if err := x.f.admission.enter(gate); err != nil {
		return err
	}
	x.tokenGate = gate
	x.known()
	return nil
}

// wrongToken counts what is not let in.
func (x *exchange) wrongToken(origin uint64, err error) error {
	x.f.metrics.wrongTokens.Add(1)
	x.unknown(x.f.guesses.slot(origin), err)
	return err
}

// challenge sets WWW-Authenticate (RFC 6750, section 3).
func (x *exchange) challenge(presented string) {
	value := `Bearer realm="anybridge"`
	if presented != "" {
		value += `, error="invalid_token"`
	}
	x.w.Header()["Www-Authenticate"] = []string{value}
}

// may checks that the token has a scope for the verb on an address.
func (x *exchange) may(v core.Verb, a core.Address) error {
	if x.token.Grants.Allow(v, a) {
		return nil
	}
	err := x.missing(string(v) + ":" + x.f.text(a))
	x.refused(string(v), core.Pattern{Address: a}, "", err)
	return err
}

// mayPattern checks that the token has a scope for the verb on all that a pattern
// can match.
func (x *exchange) mayPattern(v core.Verb, p core.Pattern) error {
	if x.token.Grants.AllowPattern(v, p) {
		return nil
	}
	scope := string(v) + ":" + x.f.text(p.Address)
	switch p.Match {
	case core.Prefix:
		scope += "*"
	case core.Wildcard:
		parts := strings.Split(x.f.text(p.Address), ".")
		for i, part := range parts {
			if part == "" {
				parts[i] = "*"
			}
		}
		scope = string(v) + ":" + strings.Join(parts, ".")
	}
	err := x.missing(scope)
	x.refused(string(v), p, "", err)
	return err
}

func (x *exchange) missing(scope string) error {
	return core.Errorf(core.Forbidden, "token %q lacks the scope %s", x.token.Name, scope)
}

// admin checks that the token may use the admin requests.
func (x *exchange) admin() error {
	if x.token.Grants.Admin() {
		return nil
	}
	err := x.missing(string(core.VerbAdmin))
	x.refused(string(core.VerbAdmin), core.Pattern{}, "", err)
	return err
}
