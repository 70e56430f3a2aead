package router

import (
	"testing"

	"github.com/gammazero/nexus/v3/wamp"
)

// While a token has a previous secret, both are its ticket; who uses one that stops
// counting is disconnected, and nobody else.
func TestTokensRotate(t *testing.T) {
	config := func(token Token) Config {
		token.Name, token.Allow = "app", []string{"*"}
		return Config{Listen: "127.0.0.1:0", Realms: []Realm{"realm1"}, Tokens: []Token{token}}
	}
	r := start(t, config(Token{Hash: hashOf("one")}))
	old := dial(t, r, wsJSON)
	joinTicket(old, "app", "one")
	if err := r.Reconfigure(config(Token{Hash: hashOf("two"), Previous: hashOf("one")})); err != nil {
		t.Fatal(err)
	}
	old.sync()
	again, fresh := dial(t, r, rsCBOR), dial(t, r, wsJSON)
	joinTicket(again, "app", "one")
	joinTicket(fresh, "app", "two")
	if err := r.Reconfigure(config(Token{Hash: hashOf("two")})); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*peer{old, again} {
		if g := expect[*wamp.Goodbye](p); g.Reason != wamp.CloseNormal {
			t.Errorf("GOODBYE %s", g.Reason)
		}
	}
	fresh.sync()
	late := dial(t, r, wsJSON)
	late.send(withMethods("realm1", "app", "ticket"))
	expect[*wamp.Challenge](late)
	late.send(&wamp.Authenticate{Signature: "one", Extra: wamp.Dict{}})
	late.aborted(wamp.ErrAuthenticationFailed, errAuthentication.Error())
	if err := r.Reconfigure(config(Token{Hash: hashOf("two"), Previous: "one"})); err == nil {
		t.Error("a previous that is no hash is accepted")
	}
}
