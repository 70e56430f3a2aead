package stream

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // SCRAM-SHA-1 (RFC 5802) is what older servers have
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

// maxIterations bounds what a server can make us compute: a tenth of a second or so
// for the usual 4,096 to 100,000, some seconds here.
const maxIterations = 5_000_000

// scram is the client's side of RFC 5802.
type scram struct {
	hash     func() hash.Hash
	user     string
	password string
	binding  string // gs2-cbind-flag, e.g. "n" or "p=tls-exporter"
	data     []byte // of the channel binding

	nonce  string
	first  string // client-first-message-bare
	server []byte // the signature that proves the server
}

func scramHash(mechanism string) func() hash.Hash {
	switch strings.TrimSuffix(mechanism, "-PLUS") {
	case "SCRAM-SHA-256":
		return sha256.New
	case "SCRAM-SHA-1":
		return sha1.New
	}
	return nil
}

func (s *scram) start() []byte {
	s.nonce = rand.Text()
	user := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(s.user)
	s.first = "n=" + user + ",r=" + s.nonce
	return []byte(s.gs2() + s.first)
}

func (s *scram) gs2() string { return s.binding + ",," }

// answer makes the client's final message out of the server's first.
func (s *scram) answer(challenge []byte) ([]byte, error) {
	fields, err := scramFields(challenge)
	if err != nil {
		return nil, err
	}
	salt, err := base64.StdEncoding.DecodeString(fields['s'])
	if err != nil || len(salt) == 0 {
		return nil, errors.New("SCRAM: the server's salt is not base64")
	}
	iterations, err := strconv.Atoi(fields['i'])
	if err != nil || iterations < 1 || iterations > maxIterations {
		return nil, fmt.Errorf("SCRAM: the server asks for %.20q iterations", fields['i'])
	}
	nonce := fields['r']
	if !strings.HasPrefix(nonce, s.nonce) || len(nonce) == len(s.nonce) {
		return nil, errors.New("SCRAM: the server's nonce does not go with ours")
	}
	key, err := pbkdf2.Key(s.hash, s.password, salt, iterations, s.hash().Size())
	if err != nil {
		return nil, fmt.Errorf("SCRAM: %w", err)
	}
	final := "c=" + base64.StdEncoding.EncodeToString(append([]byte(s.gs2()), s.data...)) + ",r=" + nonce
	auth := s.first + "," + string(challenge) + "," + final

	client := s.mac(key, "Client Key")
	h := s.hash()
	h.Write(client)
	proof := s.mac(h.Sum(nil), auth)
	subtle.XORBytes(proof, proof, client)
	s.server = s.mac(s.mac(key, "Server Key"), auth)
	return []byte(final + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

// verify checks that the server knows the password too.
func (s *scram) verify(final []byte) error {
	fields, err := scramFields(final)
	if err != nil {
		return err
	}
	got, err := base64.StdEncoding.DecodeString(fields['v'])
	if err != nil || s.server == nil || !hmac.Equal(got, s.server) {
		return errors.New("SCRAM: the server does not prove that it knows the password")
	}
	return nil
}

func (s *scram) mac(key []byte, text string) []byte {
	m := hmac.New(s.hash, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

func scramFields(message []byte) (map[byte]string, error) {
	fields := map[byte]string{}
	for field := range strings.SplitSeq(string(message), ",") {
		if len(field) < 2 || field[1] != '=' {
			return nil, errors.New("SCRAM: the server's message is malformed")
		}
		if field[0] == 'm' {
			return nil, errors.New("SCRAM: the server asks for an extension that is not known")
		}
		if _, twice := fields[field[0]]; !twice {
			fields[field[0]] = field[2:]
		}
	}
	return fields, nil
}
