package rest

import (
	"bytes"

	"github.com/anybridge/anybridge/core"
)

// maxKeys is how many keys sign what is sent to one endpoint: more than one only
// while one replaces the other.
const maxKeys = 2

// derivedKeys are the keys of an endpoint that has no secret of its own, in place of
// one with the keys held. A request is the only time that a token's text is known,
// from which the key is derived. While the token is being replaced, the key of the
// other text is kept, as it is known from when that was used: then the app can
// verify with whichever text it has. Held keys begin with that of the token's
// current text at that time.
func (x *exchange) derivedKeys(held []core.Secret) []core.Secret {
	key := DeriveKey(x.text)
	if !x.token.Replaced() || len(held) == 0 {
		return []core.Secret{key}
	}
	current := core.HashToken(x.text) == x.token.Hash
	switch same := bytes.Equal(held[0], key); {
	case current && !same:
		return []core.Secret{key, held[0]}
	case current:
		return held
	case same: // whatever came before the former text is gone
		return []core.Secret{key}
	}
	return []core.Secret{held[0], key}
}

// heldRegistrations are the keys of what the token's app has registered. Without a
// replacement under way nobody asks.
func (f *Frontend) heldRegistrations(x *exchange) map[core.Pattern][]core.Secret {
	if !x.token.Replaced() {
		return nil
	}
	held := map[core.Pattern][]core.Secret{}
	for _, r := range f.o.Bridge.Registrations(x.token.Name) {
		held[r.Pattern] = r.Endpoint.Keys
	}
	return held
}

// heldSubscriptions is heldRegistrations for subscriptions.
func (f *Frontend) heldSubscriptions(x *exchange) map[core.Pattern][]core.Secret {
	if !x.token.Replaced() {
		return nil
	}
	held := map[core.Pattern][]core.Secret{}
	for _, s := range f.o.Bridge.Subscriptions(x.token.Name) {
		held[s.Pattern] = s.Endpoint.Keys
	}
	return held
}
