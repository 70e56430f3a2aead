package router

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/anybridge/anybridge/core"
	"github.com/gammazero/nexus/v3/wamp"
)

// The authentication methods (WAMP specification, "Authentication Methods").
// methodLocal is that of Attach; clients cannot choose it.
const (
	methodAnonymous  = "anonymous"
	methodTicket     = "ticket"
	methodCRA        = "wampcra"
	methodCryptosign = "cryptosign"
	methodLocal      = "local"
)

type identityKind uint8

const (
	kindAnonymous identityKind = iota
	kindPrincipal
	kindToken
	kindTrusted
)

// identity is who a session turned out to be. It is immutable.
type identity struct {
	kind        identityKind
	authid      string
	role        string
	grants      core.Grants
	fingerprint [32]byte // of a Principal's credentials and role: a changed one ends the session
}

// provider is the authprovider of WELCOME.
func (i *identity) provider() string {
	switch i.kind {
	case kindToken:
		return "token"
	case kindTrusted:
		return "anybridge"
	}
	return "static"
}

// principalTable holds everybody who can authenticate, by authid.
type principalTable map[string]*principal

// principal is a checked Principal or Token.
type principal struct {
	identity
	ticket *[32]byte // SHA-256
	former *[32]byte // of the ticket that a token had before; nil if it has none
	key    []byte    // what WAMP-CRA signs with
	salt   wamp.Dict // what the client needs to derive key; nil if nothing
	keys   []ed25519.PublicKey
	realms []wamp.URI
}

func newPrincipal(authid string, p Principal, realms []wamp.URI) (*principal, error) {
	out := &principal{identity: identity{kind: kindPrincipal, authid: authid, role: p.Role}}
	if out.role == "" {
		out.role = "user"
	}
	var errs []error
	if authid == "" || authid == trustedName {
		errs = append(errs, fmt.Errorf("the authid %q is reserved", authid))
	}
	if out.role == trustedRole || out.role == tokenRole {
		errs = append(errs, fmt.Errorf("role: %q is reserved", out.role))
	}
	if p.Ticket != "" {
		h := sha256.Sum256([]byte(p.Ticket))
		out.ticket = &h
	}
	switch {
	case p.Secret == "" && (p.Salt != "" || p.Iterations != 0 || p.KeyLen != 0):
		errs = append(errs, errors.New("salt, iterations and key_len need a secret"))
	case p.Salt != "":
		if p.Iterations == 0 {
			p.Iterations = 1000
		}
		if p.KeyLen == 0 {
			p.KeyLen = 32
		}
		if p.Iterations < 1 || p.Iterations > 10_000_000 || p.KeyLen < 16 || p.KeyLen > 64 {
			errs = append(errs, errors.New("want 1 to 10,000,000 iterations and a key_len of 16 to 64"))
			break
		}
		derived, err := pbkdf2.Key(sha256.New, p.Secret, []byte(p.Salt), p.Iterations, p.KeyLen)
		if err != nil {
			errs = append(errs, fmt.Errorf("derive key: %w", err))
		}
		out.key = []byte(base64.StdEncoding.EncodeToString(derived))
		out.salt = wamp.Dict{"salt": p.Salt, "iterations": p.Iterations, "keylen": p.KeyLen}
	case p.Secret != "":
		out.key = []byte(p.Secret)
	}
	for i, k := range p.PublicKeys {
		b, err := hex.DecodeString(k)
		if err != nil || len(b) != ed25519.PublicKeySize {
			errs = append(errs, fmt.Errorf("public_keys[%d]: want an Ed25519 key: 64 hex digits", i))
		}
		out.keys = append(out.keys, b)
	}
	if out.ticket == nil && out.key == nil && out.keys == nil {
		errs = append(errs, errors.New("one of ticket, secret and public_keys is needed"))
	}
	for i, name := range p.Realms {
		if !slices.Contains(realms, wamp.URI(name)) {
			errs = append(errs, fmt.Errorf("realms[%d]: there is no realm %q", i, name))
		}
		out.realms = append(out.realms, wamp.URI(name))
	}
	var err error
	if out.grants, err = parseGrants(p.Allow); err != nil {
		errs = append(errs, fmt.Errorf("allow: %w", err))
	}
	p.Allow, p.Realms = nil, nil
	out.fingerprint = fingerprint(p)
	return out, errors.Join(errs...)
}

func newTokenPrincipal(t Token) (*principal, error) {
	if t.Name == "" || t.Name == trustedName {
		return nil, fmt.Errorf("name: %q is reserved", t.Name)
	}
	h, err := parseHash(t.Hash)
	if err != nil {
		return nil, fmt.Errorf("hash: %w", err)
	}
	g, err := parseGrants(t.Allow)
	if err != nil {
		return nil, fmt.Errorf("allow: %w", err)
	}
	p := &principal{identity: identity{kind: kindToken, authid: t.Name, role: tokenRole, grants: g}, ticket: &h}
	if t.Previous != "" {
		former, err := parseHash(t.Previous)
		if err != nil {
			return nil, fmt.Errorf("previous: %w", err)
		}
		p.former = &former
	}
	return p, nil
}

// opens reports, in constant time, whether a ticket with this SHA-256 is the
// principal's.
func (p *principal) opens(sum [32]byte) bool {
	ok := 0
	for _, hash := range []*[32]byte{p.ticket, p.former} {
		if hash != nil {
			ok |= subtle.ConstantTimeCompare(sum[:], hash[:])
		}
	}
	return ok == 1
}

// knows reports whether the principal, configured anew, still is who the session
// authenticated as: with the same credentials, or with a token's ticket that still
// counts.
func (p *principal) knows(s *session) bool {
	switch {
	case p.kind != s.offer.principal.kind:
		return false
	case p.kind == kindToken:
		return p.opens(s.ticket)
	}
	return p.fingerprint == s.offer.principal.fingerprint
}

// fingerprint hashes the JSON of v.
func fingerprint(v any) [32]byte {
	b, err := json.Marshal(v)
	if err != nil {
		return [32]byte{}
	}
	return sha256.Sum256(b)
}

// can reports whether the principal can authenticate with method.
func (p *principal) can(method string) bool {
	switch method {
	case methodTicket:
		return p.ticket != nil
	case methodCRA:
		return p.key != nil
	case methodCryptosign:
		return p.keys != nil
	}
	return false
}

// mayJoin reports whether the principal may join the realm.
func (p *principal) mayJoin(realm wamp.URI) bool {
	return len(p.realms) == 0 || slices.Contains(p.realms, realm)
}

// byKey finds the principal that has an Ed25519 public key, in hex.
func (t principalTable) byKey(pub string) *principal {
	b, err := hex.DecodeString(pub)
	if err != nil {
		return nil
	}
	for _, p := range t {
		for _, k := range p.keys {
			if hmac.Equal(k, b) {
				return p
			}
		}
	}
	return nil
}

// salted returns the salting of the first principal that has one, to model that of
// an invented principal on; nil if nobody has.
func (t principalTable) salted() wamp.Dict {
	for _, id := range slices.Sorted(maps.Keys(t)) {
		if s := t[id].salt; s != nil {
			return s
		}
	}
	return nil
}
