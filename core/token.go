package core

import (
	"crypto/sha256"
	"crypto/subtle"
)

// Token is an app's credential as the bridge keeps it: who it is and what it may
// do. The secret itself is not kept.
//
// A token made by NewTokenText is known by its ID where the configuration has its
// text, or its id beside its hash: then it is looked up by that. A string that the
// operator made up, and a hash without an id, are looked up by the hash. What
// decides is in both cases a comparison of hashes in constant time.
type Token struct {
	Name string
	ID   string // see TokenID; "" if there is none, or it is not known
	Hash TokenHash
	// Previous is the secret that the one above replaces, or nil. While it is here
	// both let the app in, as the same token.
	Previous *Credential
	// Users lets the app say on whose behalf it calls.
	Users  bool
	Grants Grants
	Limits TokenLimits
}

// Credential is what the bridge keeps of one secret, like ID and Hash of a Token.
type Credential struct {
	ID   string
	Hash TokenHash
}

// TokenLimits bound what the app of a token can ask for.
type TokenLimits struct {
	PerSecond float64 // requests, in the long run; 0 for any number
	Burst     int     // requests at once, when there were none for a while; at least 1
	Endpoints int     // registrations and subscriptions together; 0 for any number
}

// Replaced reports whether a previous secret is configured: the app may still use
// that one.
func (t *Token) Replaced() bool { return t.Previous != nil }

// Continues reports whether who held the other token, which has the same name, can
// hold this one: they have a secret in common. So it is where a secret became the
// previous one, or came back from there.
func (t *Token) Continues(other *Token) bool {
	for _, c := range t.credentials() {
		for _, o := range other.credentials() {
			if c.Hash == o.Hash {
				return true
			}
		}
	}
	return false
}

func (t *Token) credentials() []Credential {
	current := Credential{ID: t.ID, Hash: t.Hash}
	if t.Previous == nil {
		return []Credential{current}
	}
	return []Credential{current, *t.Previous}
}

// TokenHash is the SHA-256 of a token's text.
type TokenHash [sha256.Size]byte

// HashToken is what the bridge stores of a token. Tokens are long random strings,
// so a plain hash is as good as a slow one.
func HashToken(text string) TokenHash {
	var usual [128]byte // longer texts are allocated
	return sha256.Sum256(append(usual[:0], text...))
}

// Tokens is an immutable set of tokens.
type Tokens struct {
	byID   map[string]known
	byHash map[TokenHash]known
	byName map[string]*Token
}

// known is one secret of a token.
type known struct {
	token *Token
	hash  TokenHash
}

// NewTokens makes the set. Two tokens of one name, or of one secret or id, are an
// error.
func NewTokens(tokens []*Token) (*Tokens, error) {
	t := &Tokens{
		byID:   map[string]known{},
		byHash: make(map[TokenHash]known, len(tokens)),
		byName: make(map[string]*Token, len(tokens)),
	}
	for _, token := range tokens {
		if t.byName[token.Name] != nil {
			return nil, Errorf(InvalidArgument, "token %q is defined twice", token.Name)
		}
		t.byName[token.Name] = token
		for _, c := range token.credentials() {
			if other, taken := t.byHash[c.Hash]; taken {
				return nil, Errorf(InvalidArgument, "tokens %q and %q have the same secret", other.token.Name, token.Name)
			}
			t.byHash[c.Hash] = known{token, c.Hash}
			if c.ID == "" {
				continue
			}
			if other, taken := t.byID[c.ID]; taken {
				return nil, Errorf(InvalidArgument, "tokens %q and %q have the same id", other.token.Name, token.Name)
			}
			t.byID[c.ID] = known{token, c.Hash}
		}
	}
	return t, nil
}

// Authenticate returns the token whose text was presented. Neither look-up tells by
// its time anything about the texts of other tokens: an id is not secret, and a
// hash cannot be approached step by step. A text that begins like one of the
// bridge's own but was mistyped is told so, and not looked up at all.
func (t *Tokens) Authenticate(text string) (*Token, error) {
	if text == "" {
		return nil, Errorf(Unauthenticated, `no token: send "Authorization: Bearer …" or "token" in the body`)
	}
	if MistypedToken(text) {
		return nil, Errorf(Unauthenticated, "the token is mistyped: its check digits are wrong; is it complete?")
	}
	hash := HashToken(text)
	k, found := t.byID[TokenID(text)]
	if !found {
		k, found = t.byHash[hash]
	}
	if !found || subtle.ConstantTimeCompare(hash[:], k.hash[:]) != 1 {
		return nil, Errorf(Unauthenticated, "unknown token: check for typing errors, or ask the operator of the bridge for a new one")
	}
	return k.token, nil
}

// Named returns the token of that name, or nil.
func (t *Tokens) Named(name string) *Token { return t.byName[name] }

// All lists the tokens in no particular order.
func (t *Tokens) All() []*Token {
	all := make([]*Token, 0, len(t.byName))
	for _, token := range t.byName {
		all = append(all, token)
	}
	return all
}
