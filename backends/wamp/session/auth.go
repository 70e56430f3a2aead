package session

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/anybridge/anybridge/core"
)

// Auth is how a session proves who it is (WAMP specification, "Authentication").
// It never shows its secrets.
type Auth struct {
	Method string // "anonymous" (also when empty), "ticket", "wampcra" or "cryptosign"
	AuthID string
	Role   string // authrole to ask for; most routers decide by themselves

	Ticket core.Secret // for ticket
	Secret core.Secret // for wampcra
	Key    core.Secret // for cryptosign: the 32 bytes of an Ed25519 seed
}

// The authentication methods.
const (
	Anonymous  = "anonymous"
	Ticket     = "ticket"
	WAMPCRA    = "wampcra"
	Cryptosign = "cryptosign"
)

const (
	maxIterations = 1_000_000 // of PBKDF2: what a router may make us compute
	maxKeyLength  = 1024
	challengeSize = 32 // of cryptosign
)

// String shows the method and who, never a secret.
func (a Auth) String() string {
	if a.AuthID == "" {
		return a.method()
	}
	return a.method() + " as " + a.AuthID
}

// LogValue implements slog.LogValuer.
func (a Auth) LogValue() slog.Value { return slog.StringValue(a.String()) }

// Check says what is missing or wrong.
func (a Auth) Check() error {
	switch a.method() {
	case Anonymous:
		return nil
	case Ticket:
		if len(a.Ticket) == 0 {
			return core.Errorf(core.InvalidArgument, "auth: method ticket needs a ticket")
		}
	case WAMPCRA:
		if len(a.Secret) == 0 {
			return core.Errorf(core.InvalidArgument, "auth: method wampcra needs a secret")
		}
	case Cryptosign:
		if len(a.Key) != ed25519.SeedSize {
			return core.Errorf(core.InvalidArgument, "auth: method cryptosign needs a private_key of %d bytes", ed25519.SeedSize)
		}
		return nil // the router may know the authid by the public key
	default:
		return core.Errorf(core.InvalidArgument, "auth: method %q: want anonymous, ticket, wampcra or cryptosign", a.Method)
	}
	if a.AuthID == "" {
		return core.Errorf(core.InvalidArgument, "auth: method %s needs an authid", a.Method)
	}
	return nil
}

func (a Auth) method() string {
	if a.Method == "" {
		return Anonymous
	}
	return a.Method
}

// details adds to HELLO.Details what the method needs.
func (a Auth) details(d wamp.Dict) {
	d["authmethods"] = wamp.List{a.method()}
	if a.AuthID != "" {
		d["authid"] = a.AuthID
	}
	if a.Role != "" {
		d["authrole"] = a.Role
	}
	if a.method() == Cryptosign {
		public, _ := a.privateKey().Public().(ed25519.PublicKey)
		d["authextra"] = wamp.Dict{"pubkey": hex.EncodeToString(public), "channel_binding": nil}
	}
}

func (a Auth) privateKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(a.Key) }

// answer makes the AUTHENTICATE for a CHALLENGE.
func (a Auth) answer(c *wamp.Challenge) (*wamp.Authenticate, error) {
	if c.AuthMethod != a.method() {
		return nil, fmt.Errorf("the router asks for %q, configured is %q", c.AuthMethod, a.method())
	}
	var signature string
	var err error
	switch a.method() {
	case Ticket:
		signature = string(a.Ticket)
	case WAMPCRA:
		signature, err = a.answerCRA(c.Extra)
	case Cryptosign:
		signature, err = a.answerCryptosign(c.Extra)
	default:
		err = errors.New("the router sent a challenge to an anonymous session")
	}
	if err != nil {
		return nil, err
	}
	return &wamp.Authenticate{Signature: signature, Extra: wamp.Dict{}}, nil
}

// answerCRA signs the challenge, with a derived key if the secret is salted (WAMP
// specification, "Challenge Response Authentication").
func (a Auth) answerCRA(extra wamp.Dict) (string, error) {
	challenge, ok := wamp.AsString(extra["challenge"])
	if !ok {
		return "", errors.New("CHALLENGE of wampcra without a challenge")
	}
	key := []byte(a.Secret)
	if salt, _ := wamp.AsString(extra["salt"]); salt != "" {
		iterations, length := int64(1000), int64(32)
		if n, ok := wamp.AsInt64(extra["iterations"]); ok {
			iterations = n
		}
		if n, ok := wamp.AsInt64(extra["keylen"]); ok {
			length = n
		}
		if iterations < 1 || iterations > maxIterations || length < 1 || length > maxKeyLength {
			return "", fmt.Errorf("CHALLENGE of wampcra wants %d iterations and a key of %d bytes", iterations, length)
		}
		derived, err := pbkdf2.Key(sha256.New, string(a.Secret), []byte(salt), int(iterations), int(length))
		if err != nil {
			return "", fmt.Errorf("derive key: %w", err)
		}
		key = []byte(base64.StdEncoding.EncodeToString(derived))
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(challenge))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

// answerCryptosign signs the 32 bytes that the router sent (WAMP specification,
// "Cryptosign-based Authentication"), without channel binding.
func (a Auth) answerCryptosign(extra wamp.Dict) (string, error) {
	text, _ := wamp.AsString(extra["challenge"])
	challenge, err := hex.DecodeString(text)
	if err != nil || len(challenge) != challengeSize {
		return "", fmt.Errorf("CHALLENGE of cryptosign: want %d bytes in hexadecimal", challengeSize)
	}
	if binding, _ := wamp.AsString(extra["channel_binding"]); binding != "" {
		return "", fmt.Errorf("the router wants channel binding %q, which anybridge does not do", binding)
	}
	return hex.EncodeToString(ed25519.Sign(a.privateKey(), challenge)) + text, nil
}
