package core

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"hash/crc32"
	"strings"
)

// Token is an app's credential as the bridge keeps it: who it is and what it may
// do. The secret itself is not kept.
type Token struct {
	Name   string
	Hash   TokenHash
	Grants Grants
}

// TokenHash is the SHA-256 of a token's text.
type TokenHash [sha256.Size]byte

// HashToken is what the bridge stores of a token. Tokens are long random strings,
// so a plain hash is as good as a slow one.
func HashToken(text string) TokenHash { return sha256.Sum256([]byte(text)) }

// Tokens is an immutable set of tokens.
type Tokens struct {
	byHash map[TokenHash]*Token
	byName map[string]*Token
}

// NewTokens makes the set. Two tokens of one name, or of one secret, are an error.
func NewTokens(tokens []*Token) (*Tokens, error) {
	t := &Tokens{byHash: make(map[TokenHash]*Token, len(tokens)), byName: make(map[string]*Token, len(tokens))}
	for _, token := range tokens {
		if t.byName[token.Name] != nil {
			return nil, Errorf(InvalidArgument, "token %q is defined twice", token.Name)
		}
		if other := t.byHash[token.Hash]; other != nil {
			return nil, Errorf(InvalidArgument, "tokens %q and %q have the same secret", other.Name, token.Name)
		}
		t.byName[token.Name], t.byHash[token.Hash] = token, token
	}
	return t, nil
}

// Authenticate returns the token whose text was presented. The look-up goes by
// hash, so its time tells nothing about the texts of other tokens; the comparison
// that decides is in constant time.
func (t *Tokens) Authenticate(text string) (*Token, error) {
	if text == "" {
		return nil, Errorf(Unauthenticated, `no token: send "Authorization: Bearer …" or "token" in the body`)
	}
	hash := HashToken(text)
	token := t.byHash[hash]
	if token == nil || subtle.ConstantTimeCompare(hash[:], token.Hash[:]) != 1 {
		return nil, Errorf(Unauthenticated, "unknown token: check for typing errors, or ask the operator of the bridge for a new one")
	}
	return token, nil
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

// NewTokenText makes a fresh token of the form ab_<id>_<secret><checksum>: the id
// can be shown, the secret has 160 random bits, and the checksum lets scanners
// and people tell a token from a typing error.
func NewTokenText() string {
	var id [5]byte
	var secret [20]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	_, _ = rand.Read(secret[:])
	text := "ab_" + base32Text(id[:]) + "_" + base32Text(secret[:])
	return text + tokenChecksum(text)
}

// CheckTokenText reports whether text looks like a token made by NewTokenText and
// its checksum is right.
func CheckTokenText(text string) bool {
	const checksumLen = 7
	if !strings.HasPrefix(text, "ab_") || len(text) < checksumLen {
		return false
	}
	cut := len(text) - checksumLen
	return text[cut:] == tokenChecksum(text[:cut])
}

func tokenChecksum(text string) string {
	return base32Text(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(text))))
}

func base32Text(b []byte) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}
