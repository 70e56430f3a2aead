package config

import (
	"encoding/hex"
	"regexp"
	"strings"

	"github.com/anybridge/anybridge/core"
)

// minTokenLen is the shortest token, in characters, that is not warned of: tokens
// are stored as plain hashes, so they must be beyond guessing.
const minTokenLen = 20

var tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

// ValidTokenName reports whether a token can have that name.
func ValidTokenName(name string) bool { return tokenName.MatchString(name) }

func (d *decoder) tokens(s section, c *Config) []Token {
	v := s.get("tokens", object)
	if v == nil {
		return nil
	}
	if len(v.entries) == 0 {
		d.add(v, "tokens is empty: nobody could use the bridge (leave it out for one token with every right)")
	}
	var out []Token
	byHash, byID := map[core.TokenHash]entry{}, map[string]entry{}
	unique := func(e entry, at *node, c core.Credential) {
		if first, taken := byHash[c.Hash]; taken {
			d.add(at, "tokens %s and %s have the same secret: first in line %d", first.key, e.key, first.line)
		} else if first, taken := byID[c.ID]; taken && c.ID != "" {
			d.add(at, "tokens %s and %s have the same id: first in line %d", first.key, e.key, first.line)
		}
		byHash[c.Hash], byID[c.ID] = e, e
	}
	for _, e := range v.entries {
		if !tokenName.MatchString(e.key) {
			d.src.add(e.line, e.column, "token name %q: want 1 to 64 letters, digits, and . _ @ - after the first", e.key)
		}
		t := d.section(e.value, "token "+e.key, "token", "hash", "previous", "allow", "users", "rate", "endpoints")
		token := Token{Token: core.Token{Name: e.key, Grants: d.grants(t, c), Limits: d.tokenLimits(t, c.Limits.Token)}}
		if v := t.get("users", boolean); v != nil {
			token.Users = v.text == "true"
		}
		at, ok := d.secret(t, &token)
		if !ok {
			continue
		}
		unique(e, at, core.Credential{ID: token.ID, Hash: token.Hash})
		if v := t.text("previous"); v != nil {
			if previous, ok := d.previous(v); ok {
				unique(e, v, previous)
				token.Previous = &previous
			}
		}
		out = append(out, token)
	}
	return out
}

// secret reads a token's text or hash and returns where it stands.
func (d *decoder) secret(t section, token *Token) (at *node, ok bool) {
	if t.has("token") == t.has("hash") {
		if t.n.size > 0 { // it is a map
			d.add(t.n, "token %s needs either token or hash (anybridge token new makes one)", token.Name)
		}
		return nil, false
	}
	if v := t.text("token"); v != nil {
		if c := d.plainToken(v); c.ID == "" && len(v.text) < minTokenLen {
			d.src.warn(v.line, v.column, "the token is shorter than %d characters: it can be guessed (anybridge token new makes a good one)", minTokenLen)
		}
		token.ID, token.Hash, token.Variable = core.TokenID(v.text), core.HashToken(v.text), v.variable
		return v, true
	}
	v := t.text("hash")
	if v == nil {
		return nil, false
	}
	c, ok := d.tokenHash(v, "hash")
	token.ID, token.Hash = c.ID, c.Hash
	return v, ok
}

// previous reads the secret that a token had before: its text or its hash.
func (d *decoder) previous(v *node) (core.Credential, bool) {
	if hashForm.MatchString(v.text) {
		return d.tokenHash(v, "previous")
	}
	return d.plainToken(v), true
}

// plainToken reads the text of a token.
func (d *decoder) plainToken(v *node) core.Credential {
	switch {
	case strings.TrimSpace(v.text) != v.text:
		d.add(v, "the token begins or ends with white space")
	case core.MistypedToken(v.text):
		d.add(v, "the token begins like one made by anybridge, but its check digits are wrong: is it complete?")
	}
	return core.Credential{ID: core.TokenID(v.text), Hash: core.HashToken(v.text)}
}

// hashForm begins the hash of a token: the id of one that anybridge made can stand
// in front.
var hashForm = regexp.MustCompile(`^(ab_[^:]*:)?sha256:`)

// tokenHash reads the hash of a token.
func (d *decoder) tokenHash(v *node, name string) (c core.Credential, ok bool) {
	form, digits, _ := strings.Cut(v.text, "sha256:")
	c.ID = strings.TrimSuffix(strings.TrimPrefix(form, core.TokenPrefix), ":")
	hash, err := hex.DecodeString(digits)
	if !hashForm.MatchString(v.text) || form != "" && !core.ValidTokenID(c.ID) || err != nil || len(hash) != len(c.Hash) {
		d.add(v, "%s must be sha256: followed by 64 hexadecimal digits, with the id of the token in front or without it (anybridge token new prints one)", name)
		return core.Credential{}, false
	}
	copy(c.Hash[:], hash)
	return c, true
}

// grants reads the scopes of a token.
func (d *decoder) grants(t section, c *Config) core.Grants {
	if !t.has("allow") && t.n.size > 0 {
		d.add(t.n, `%s may do nothing: say what in allow, such as ["call:com.shop.*"], or ["*"] for everything`, t.name)
	}
	var scopes []string
	for _, item := range d.texts(t, "allow") {
		if d.scope(item, c) {
			scopes = append(scopes, item.text)
		}
	}
	grants, err := core.ParseGrants(scopes, defaultName(c))
	if err != nil {
		d.add(t.n, "%s", message(err))
	}
	return grants
}

// scope reports whether one scope is right.
func (d *decoder) scope(item *node, c *Config) bool {
	if _, err := core.ParseGrants([]string{item.text}, defaultName(c)); err != nil {
		d.add(item, "%s", message(err))
		return false
	}
	verb, address, found := strings.Cut(item.text, ":")
	if !found || verb == string(core.VerbAdmin) {
		return true
	}
	a, err := core.ParseAddress(address, defaultName(c))
	if err != nil {
		d.add(item, "scope %q: %s", item.text, message(err))
		return false
	}
	names := make([]string, len(c.Backends))
	for i, b := range c.Backends {
		if b.Name == a.Backend {
			return true
		}
		names[i] = b.Name
	}
	if a.Backend == defaultName(c) {
		return true // reported where it is named
	}
	hint := "backends are " + strings.Join(names, ", ")
	if near := core.Nearest(a.Backend, names); near != "" {
		hint = "did you mean " + near + "?"
	}
	d.add(item, "scope %q: there is no backend named %q: %s", item.text, a.Backend, hint)
	return false
}

// defaultName is the default backend, or what stands for it while it is unknown.
func defaultName(c *Config) string {
	if c.DefaultBackend == "" {
		return DefaultBackend
	}
	return c.DefaultBackend
}
