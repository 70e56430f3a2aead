package core

import (
	"crypto/rand"
	"encoding/base32"
	"hash/crc32"
	"strings"
)

// A token made by the bridge is ab_<id>_<secret><checksum>, in lower-case base32
// (RFC 4648) without padding: 40 bits of id, 160 bits of secret and the CRC-32 of
// all that stands before. The id is not secret: logs and lists show it. The
// checksum lets scanners and people tell a token from a typing error. Only such
// tokens begin with TokenPrefix.
const (
	TokenPrefix = "ab_"

	tokenIDLen       = 8
	tokenSecretLen   = 32
	tokenChecksumLen = 7
	tokenLen         = len(TokenPrefix) + tokenIDLen + 1 + tokenSecretLen + tokenChecksumLen

	tokenAlphabet = "abcdefghijklmnopqrstuvwxyz234567"
)

// NewTokenText makes a fresh token.
func NewTokenText() string {
	var id [tokenIDLen * 5 / 8]byte
	var secret [tokenSecretLen * 5 / 8]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	_, _ = rand.Read(secret[:])
	encoding := base32.NewEncoding(tokenAlphabet).WithPadding(base32.NoPadding)
	text := TokenPrefix + encoding.EncodeToString(id[:]) + "_" + encoding.EncodeToString(secret[:])
	sum := tokenChecksum(text)
	return text + string(sum[:])
}

// CheckTokenText reports whether text is one that NewTokenText can have made: its
// form and its checksum are right.
func CheckTokenText(text string) bool {
	if len(text) != tokenLen || !strings.HasPrefix(text, TokenPrefix) || text[len(TokenPrefix)+tokenIDLen] != '_' {
		return false
	}
	cut := tokenLen - tokenChecksumLen
	sum := tokenChecksum(text[:cut])
	return text[cut:] == string(sum[:])
}

// MistypedToken reports whether text begins like a token made by NewTokenText but
// is none. A string of the operator's own cannot begin so.
func MistypedToken(text string) bool {
	return strings.HasPrefix(text, TokenPrefix) && !CheckTokenText(text)
}

// TokenID is the id in a token made by NewTokenText, or "" if the text has no such
// form. It does not look at the checksum.
func TokenID(text string) string {
	if len(text) != tokenLen || !strings.HasPrefix(text, TokenPrefix) {
		return ""
	}
	return text[len(TokenPrefix) : len(TokenPrefix)+tokenIDLen]
}

// ValidTokenID reports whether id is one that a token can have.
func ValidTokenID(id string) bool {
	return len(id) == tokenIDLen && strings.Trim(id, tokenAlphabet) == ""
}

// tokenChecksum is the CRC-32 (IEEE) of text in base32. It goes byte by byte, so
// that nothing is allocated where a request is authenticated.
func tokenChecksum(text string) (sum [tokenChecksumLen]byte) {
	crc := ^uint32(0)
	for i := range len(text) {
		crc = crc32.IEEETable[byte(crc)^text[i]] ^ crc>>8
	}
	bits := uint64(^crc) << 3 // 32 bits and 3 of padding make 7 digits of 5
	for i := range sum {
		sum[i] = tokenAlphabet[bits>>(5*(tokenChecksumLen-1-i))&31]
	}
	return sum
}
