package rest

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/anybridge/anybridge/core"
)

// The example that the Standard Webhooks libraries test themselves with.
func TestSignVector(t *testing.T) {
	key, err := ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := sign([]core.Secret{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSignIsAcceptedByTheOfficialLibraryUnderEitherKey(t *testing.T) {
	old, current := DeriveKey("token of yesterday"), DeriveKey("token of today")
	now := strconv.FormatInt(time.Now().Unix(), 10)
	body := []byte(`{"type":"event"}`)
	h := http.Header{}
	h.Set("webhook-id", "evt_1")
	h.Set("webhook-timestamp", now)
	h.Set("webhook-signature", sign([]core.Secret{current, old}, "evt_1", now, body))
	for _, key := range []core.Secret{old, current} {
		// What an app does that knows nothing but its token.
		hook, err := standardwebhooks.NewWebhook("whsec_" + base64.StdEncoding.EncodeToString(key))
		if err != nil {
			t.Fatal(err)
		}
		if err := hook.Verify(body, h); err != nil {
			t.Error(err)
		}
	}
	other, err := standardwebhooks.NewWebhookRaw(DeriveKey("another token"))
	if err != nil {
		t.Fatal(err)
	}
	if other.Verify(body, h) == nil {
		t.Error("a signature was accepted under a key that it was not made with")
	}
}

func TestDeriveKey(t *testing.T) {
	// printf 'anybridge callback signing v1' | openssl dgst -sha256 -hmac ab_test -binary | base64
	const want = "yC8jrqRV6py3kPXH8MVl2YCvPxY6JDAXDVvc9m40O98="
	if got := base64.StdEncoding.EncodeToString(DeriveKey("ab_test")); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestParseSecret(t *testing.T) {
	bytes := func(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for text, ok := range map[string]bool{
		"whsec_" + bytes(24): true,
		"whsec_" + bytes(64): true,
		"whsec_" + bytes(23): false,
		"whsec_" + bytes(65): false,
		"whsec_":             false,
		"whsec_!!!":          false,
		bytes(24):            false,
		"":                   false,
	} {
		_, err := ParseSecret(text)
		if (err == nil) != ok {
			t.Errorf("ParseSecret(%q): %v", text, err)
		}
		if err != nil && len(text) > 6 && strings.Contains(err.Error(), text[6:]) {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}

func TestWebhookIDFitsItsHeader(t *testing.T) {
	for _, id := range []string{"evt_abc-DEF", "1234-0"} {
		if got := webhookID(id); got != id {
			t.Errorf("webhookID(%q) = %q", id, got)
		}
	}
	for _, id := range []string{"", "a.b", "a b", "a\r\nX-Evil: 1", "é", strings.Repeat("x", maxWebhookID+1)} {
		got := webhookID(id)
		if !fitID(got) || got != webhookID(id) {
			t.Errorf("webhookID(%q) = %q", id, got)
		}
	}
}
