package rest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/anybridge/anybridge/core"
)

// derivation separates the keys derived from tokens from every other use of them.
const derivation = "anybridge callback signing v1"

// secretPrefix begins the text form of a symmetric key (Standard Webhooks 1.0).
const secretPrefix = "whsec_"

// The length of a key in bytes (Standard Webhooks 1.0: 192 to 512 bits).
const minSecret, maxSecret = 24, 64

// DeriveKey is the key that signs what is sent to the endpoints of a token, unless
// they have a secret of their own: HMAC-SHA256 of a fixed text, under the token.
// Its text form is whsec_ and the base64 of it.
func DeriveKey(token string) core.Secret {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte(derivation))
	return mac.Sum(nil)
}

// ParseSecret reads a key's text form: whsec_ and the standard base64 of 24 to 64
// bytes. The error does not show the text.
func ParseSecret(s string) (core.Secret, error) {
	text, ok := strings.CutPrefix(s, secretPrefix)
	if !ok {
		return nil, core.Errorf(core.InvalidArgument, "want %s followed by base64", secretPrefix)
	}
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, core.Errorf(core.InvalidArgument, "what follows %s is not standard base64", secretPrefix)
	}
	if len(key) < minSecret || len(key) > maxSecret {
		return nil, core.Errorf(core.InvalidArgument, "the key has %d bytes: want %d to %d", len(key), minSecret, maxSecret)
	}
	return key, nil
}

// sign makes the value of webhook-signature: one v1 signature of
// "id.timestamp.body" for each key, separated by spaces, so that a receiver that
// knows either key of a rotation accepts it (Standard Webhooks 1.0, "Signature
// scheme").
func sign(keys []core.Secret, id, timestamp string, body []byte) string {
	var sum [sha256.Size]byte
	out := make([]byte, 0, len(keys)*48)
	for i, key := range keys {
		if i > 0 {
			out = append(out, ' ')
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id))
		mac.Write([]byte{'.'})
		mac.Write([]byte(timestamp))
		mac.Write([]byte{'.'})
		mac.Write(body)
		out = append(out, "v1,"...)
		out = base64.StdEncoding.AppendEncode(out, mac.Sum(sum[:0]))
	}
	return string(out)
}

// maxWebhookID is the longest id that is sent as it is.
const maxWebhookID = 128

// webhookID makes an id fit for its header and for signing, where a full stop
// would let parts change places (Standard Webhooks 1.0, "Signature scheme"). An id
// that is not fit, as another system may have given it, is replaced by its hash:
// the same each time.
func webhookID(id string) string {
	if fitID(id) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "msg_" + hex.EncodeToString(sum[:16])
}

func fitID(id string) bool {
	if id == "" || len(id) > maxWebhookID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
