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
	endpoint := core.Endpoint{URL: "http://x/", Key: core.Secret("hush-hush")}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", slog.Any("endpoint", endpoint), slog.Any("key", endpoint.Key))
	marshalled, err := json.Marshal(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%v %+v %#v %s %q %x", endpoint, endpoint, endpoint, endpoint.Key, endpoint.Key, endpoint.Key.String()) + log.String() + string(marshalled)
	if strings.Contains(text, "hush") || strings.Contains(text, "aHVzaC1odXNo") || strings.Contains(text, fmt.Sprintf("%x", "hush-hush")) {
		t.Errorf("the secret shows: %s", text)
	}
}
