package rest

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/anybridge/anybridge/core"
)

// The texts of the shop's token, one after the other.
const (
	firstText, secondText, thirdText = "shop-token-the-first", "shop-token-the-second", "shop-token-the-third"
)

// replace makes the shop's token be current; previous, if any, still lets it in.
func (f *fixture) replace(current, previous string) {
	f.t.Helper()
	grants, err := core.ParseGrants([]string{"*"}, "wamp")
	if err != nil {
		f.t.Fatal(err)
	}
	token := &core.Token{Name: "shop", Hash: core.HashToken(current), Grants: grants}
	if previous != "" {
		token.Previous = &core.Credential{Hash: core.HashToken(previous)}
	}
	tokens, err := core.NewTokens([]*core.Token{token})
	if err != nil {
		f.t.Fatal(err)
	}
	f.tokens.Store(tokens)
}

// verifies returns which of the keys the official library accepts a callback under.
func verifies(t *testing.T, r received, keys map[string]core.Secret) string {
	t.Helper()
	var good []string
	for _, name := range []string{"first", "second", "third", "own", "new"} {
		key := keys[name]
		if key == nil {
			continue
		}
		hook, err := standardwebhooks.NewWebhook("whsec_" + base64.StdEncoding.EncodeToString(key))
		if err != nil {
			t.Fatal(err)
		}
		if hook.Verify([]byte(r.body), r.header) == nil {
			good = append(good, name)
		}
	}
	if n := len(strings.Fields(r.header.Get("Webhook-Signature"))); n != len(good) {
		t.Errorf("%d signatures for %v", n, good)
	}
	return strings.Join(good, " ")
}

// While a token is being replaced, callbacks are signed with the keys of both its
// texts, whichever the app registered with last.
func TestReplacingATokenRotatesTheKeys(t *testing.T) {
	f := newFixture(t, setup{})
	a := newApp(t, nil)
	keys := map[string]core.Secret{"first": DeriveKey(firstText), "second": DeriveKey(secondText), "third": DeriveKey(thirdText)}
	texts := map[string]string{"first": firstText, "second": secondText, "third": thirdText, "": ""}
	for _, step := range []struct{ current, previous, register, signed string }{
		{"first", "", "first", "first"},
		{"second", "first", "", "first"}, // the app has not started again
		{"second", "first", "first", "first"},
		{"second", "first", "second", "first second"},
		{"second", "first", "second", "first second"},
		{"second", "first", "first", "first second"},
		{"second", "", "", "first second"},
		{"second", "", "second", "second"},
		{"third", "second", "third", "second third"},
		{"third", "second", "second", "second third"},
		{"third", "", "third", "third"},
	} {
		f.replace(texts[step.current], texts[step.previous])
		if step.register != "" {
			for _, path := range []string{"/register/", "/subscribe/"} {
				if status, answer := f.as(texts[step.register], http.MethodPost, path, `{"endpoints": {"com.shop.p": "`+a.URL+`"}}`); status != 200 {
					t.Fatalf("%+v: %d %s", step, status, answer)
				}
			}
		}
		reg, sub := f.bridge.Registrations("shop"), f.bridge.Subscriptions("shop")
		if len(reg) != 1 || len(sub) != 1 {
			t.Fatalf("%+v: %d registrations, %d subscriptions", step, len(reg), len(sub))
		}
		event := eventAttempt(a.URL)
		event.Endpoint = &sub[0].Endpoint
		if out := f.calls.Send(t.Context(), event); !out.Done {
			t.Fatalf("%+v: %+v", step, out)
		}
		if got := verifies(t, a.next(t), keys); got != step.signed {
			t.Errorf("%+v: an event is signed with %s", step, got)
		}
		if _, err := f.calls.Invoke(t.Context(), reg[0], invocation()); err != nil {
			t.Fatalf("%+v: %v", step, err)
		}
		if got := verifies(t, a.next(t), keys); got != step.signed {
			t.Errorf("%+v: an invocation is signed with %s", step, got)
		}
		if len(sub[0].Endpoint.Keys) == 2 && string(sub[0].Endpoint.Keys[0]) != string(keys[step.current]) && step.register != "" {
			t.Errorf("%+v: the current key is not the first", step)
		}
	}
}

// A key that follows one of another text is dropped when it came before both.
func TestOldKeysAreNotKept(t *testing.T) {
	first, second, third := DeriveKey(firstText), DeriveKey(secondText), DeriveKey(thirdText)
	replaced := &core.Token{Name: "shop", Hash: core.HashToken(thirdText), Previous: &core.Credential{Hash: core.HashToken(secondText)}}
	for _, tt := range []struct {
		text string
		held []core.Secret
		want []core.Secret
	}{
		{secondText, []core.Secret{second, first}, []core.Secret{second}},
		{thirdText, []core.Secret{second, first}, []core.Secret{third, second}},
		{secondText, []core.Secret{third, second}, []core.Secret{third, second}},
		{thirdText, []core.Secret{third}, []core.Secret{third}},
		{thirdText, nil, []core.Secret{third}},
	} {
		got := (&exchange{token: replaced, text: tt.text}).derivedKeys(tt.held)
		same := len(got) == len(tt.want)
		for i := range got {
			same = same && string(got[i]) == string(tt.want[i])
		}
		if !same {
			t.Errorf("%s after %d keys: got %d keys", tt.text, len(tt.held), len(got))
		}
	}
}

// An app replaces a secret of its own with a list of two.
func TestEndpointSecretsRotate(t *testing.T) {
	f := newFixture(t, setup{})
	a := newApp(t, nil)
	text := func(b byte) string {
		return `"whsec_` + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(b), 24))) + `"`
	}
	own, fresh := text('a'), text('b')
	keys := map[string]core.Secret{"own": core.Secret(strings.Repeat("a", 24)), "new": core.Secret(strings.Repeat("b", 24)), "first": DeriveKey(shopToken)}
	for secret, want := range map[string]string{own: "own", "[" + fresh + ", " + own + "]": "own new", "[" + fresh + "]": "new", "null": "first"} {
		f.want(200, "POST", "/subscribe/", `{"endpoints": {"com.shop.t": {"url": "`+a.URL+`", "secret": `+secret+`}}}`)
		event := eventAttempt(a.URL)
		event.Endpoint = &f.bridge.Subscriptions("shop")[0].Endpoint
		if out := f.calls.Send(t.Context(), event); !out.Done {
			t.Fatalf("got %+v", out)
		}
		if got := verifies(t, a.next(t), keys); got != want {
			t.Errorf("with %s signed with %q, want %q", secret, got, want)
		}
	}
	for secret, says := range map[string]string{
		"[]":                                    "want a secret, or a list",
		"[" + own + "," + own + "," + own + "]": "more than 2 secrets",
		"[" + own + `, "x"]`:                    `secret[1]: want whsec_`,
		"5":                                     "secret: want",
	} {
		answer := f.want(400, "POST", "/subscribe/", `{"endpoints": {"com.shop.t": {"url": "`+a.URL+`", "secret": `+secret+`}}}`)
		if !strings.Contains(answer, says) || strings.Contains(answer, "YWFh") {
			t.Errorf("with %s: %s", secret, answer)
		}
	}
}
