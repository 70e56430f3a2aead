package core_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/core"
)

func TestTokens(t *testing.T) {
	shop := &core.Token{Name: "shop", Hash: core.HashToken("s3cret")}
	tokens, err := core.NewTokens([]*core.Token{shop, {Name: "mobile", Hash: core.HashToken("other")}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tokens.Authenticate("s3cret"); err != nil || got != shop {
		t.Errorf("Authenticate = %v, %v", got, err)
	}
	for _, bad := range []string{"", "s3cre", "s3cret ", "S3cret"} {
		_, err := tokens.Authenticate(bad)
		if core.CodeOf(err) != core.Unauthenticated {
			t.Errorf("Authenticate(%q) = %v", bad, err)
		}
		if bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("the error shows the token: %v", err)
		}
	}
	if _, err := core.NewTokens([]*core.Token{shop, {Name: "shop", Hash: core.HashToken("x")}}); err == nil {
		t.Error("two tokens of one name are accepted")
	}
	if _, err := core.NewTokens([]*core.Token{shop, {Name: "b", Hash: shop.Hash}}); err == nil {
		t.Error("two tokens of one secret are accepted")
	}
}

func TestNewTokenText(t *testing.T) {
	text := core.NewTokenText()
	if !core.CheckTokenText(text) || text == core.NewTokenText() || strings.Count(text, "_") != 2 {
		t.Errorf("NewTokenText() = %q", text)
	}
	wrong := []byte(text)
	wrong[len(wrong)/2] ^= 1
	if core.CheckTokenText(string(wrong)) || core.CheckTokenText("ab_") || core.CheckTokenText("") {
		t.Error("a wrong checksum is accepted")
	}
}

func TestSecretNeverShows(t *testing.T) {
	endpoint := core.Endpoint{URL: "http://x/", Keys: []core.Secret{core.Secret("hush-hush")}}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", slog.Any("endpoint", endpoint), slog.Any("key", endpoint.Keys[0]))
	marshalled, err := json.Marshal(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%v %+v %#v %s %q %x", endpoint, endpoint, endpoint, endpoint.Keys[0], endpoint.Keys[0], endpoint.Keys[0].String()) + log.String() + string(marshalled)
	if strings.Contains(text, "hush") || strings.Contains(text, "aHVzaC1odXNo") || strings.Contains(text, fmt.Sprintf("%x", "hush-hush")) {
		t.Errorf("the secret shows: %s", text)
	}
}

// Tokens that the bridge made are found by their id, others by their hash; both
// let in with the previous secret as well.
func TestTokensAreFoundByIDOrHash(t *testing.T) {
	byID, byHash, old := core.NewTokenText(), core.NewTokenText(), core.NewTokenText()
	tokens, err := core.NewTokens([]*core.Token{
		{Name: "id", ID: core.TokenID(byID), Hash: core.HashToken(byID), Previous: &core.Credential{Hash: core.HashToken("plain old secret")}},
		{Name: "hash", Hash: core.HashToken(byHash), Previous: &core.Credential{ID: core.TokenID(old), Hash: core.HashToken(old)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for text, name := range map[string]string{byID: "id", "plain old secret": "id", byHash: "hash", old: "hash"} {
		token, err := tokens.Authenticate(text)
		if err != nil || token.Name != name || !token.Replaced() {
			t.Errorf("%s: got %v, %v", name, token, err)
		}
	}
	// The id alone does not help, and neither do its owner's check digits.
	forged := byID[:12] + core.NewTokenText()[12:]
	for _, bad := range []string{forged, byID + "a", byID[:len(byID)-1], core.NewTokenText(), strings.ToUpper(byID)} {
		if _, err := tokens.Authenticate(bad); core.CodeOf(err) != core.Unauthenticated {
			t.Errorf("%s: got %v", bad, err)
		}
	}
	if _, err := tokens.Authenticate(byID[:len(byID)-1]); err == nil || !strings.Contains(err.Error(), "mistyped") {
		t.Errorf("got %v", err)
	}
}

func TestTokensMustDiffer(t *testing.T) {
	a, b := core.HashToken("a"), core.HashToken("b")
	for name, pair := range map[string][2]*core.Token{
		"a previous secret that another has": {{Name: "x", Hash: a}, {Name: "y", Hash: b, Previous: &core.Credential{Hash: a}}},
		"two of one id":                      {{Name: "x", ID: "abcdefgh", Hash: a}, {Name: "y", ID: "abcdefgh", Hash: b}},
		"a secret that replaces itself":      {{Name: "x", Hash: a, Previous: &core.Credential{Hash: a}}, {Name: "y", Hash: b}},
	} {
		if _, err := core.NewTokens(pair[:]); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestTokenContinues(t *testing.T) {
	token := func(current, previous string) *core.Token {
		token := &core.Token{Hash: core.HashToken(current)}
		if previous != "" {
			token.Previous = &core.Credential{Hash: core.HashToken(previous)}
		}
		return token
	}
	one := token("one", "")
	for name, test := range map[string]struct {
		now  *core.Token
		want bool
	}{
		"unchanged":   {token("one", ""), true},
		"replaced":    {token("two", "one"), true},
		"a new one":   {token("two", ""), false},
		"two anew":    {token("three", "two"), false},
		"other order": {token("one", "two"), true},
	} {
		if got := test.now.Continues(one); got != test.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
	if !token("two", "").Continues(token("two", "one")) || token("one", "").Replaced() || !token("two", "one").Replaced() {
		t.Error("the last step of a change counts as another secret")
	}
}

// Authenticating costs no allocation, whatever form the token has.
func TestAuthenticateAllocations(t *testing.T) {
	made := core.NewTokenText()
	const plain = "a string that the operator made up, which is rather long"
	tokens, err := core.NewTokens([]*core.Token{{Name: "made", ID: core.TokenID(made), Hash: core.HashToken(made)}, {Name: "plain", Hash: core.HashToken(plain)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{made, plain} {
		if n := testing.AllocsPerRun(100, func() { _, _ = tokens.Authenticate(text) }); n > 0 {
			t.Errorf("%d characters: %v allocations", len(text), n)
		}
	}
}
