package rest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
)

// from sends a request as if it came from that address.
func (f *fixture) from(address, token string) *httptest.ResponseRecorder {
	f.t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/register/", nil)
	r.RemoteAddr = address
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	f.front.Handler().ServeHTTP(w, r)
	return w
}

func TestGuessingIsSlow(t *testing.T) {
	f := newFixture(t, setup{limits: Limits{MaxGuesses: 3, GuessPause: time.Minute}})
	f.front.clock = func() int64 { return 1 }
	made := core.NewTokenText()
	f.setTokens(map[string][]string{shopToken: {"*"}, mobileToken: {"*"}, made: {"*"}})
	const here, elsewhere = "192.0.2.7:1111", "192.0.2.8:1111"
	if w := f.from(here, shopToken); w.Code != 200 {
		t.Fatalf("got %d", w.Code)
	}
	for i := range 3 {
		if w := f.from(here, fmt.Sprintf("guess-%d", i)); w.Code != 401 {
			t.Errorf("guess %d: got %d", i, w.Code)
		}
	}
	for _, guess := range []string{"guess", mobileToken, core.NewTokenText()} {
		w := f.from(here, guess)
		if w.Code != 429 || w.Header().Get("Retry-After") != "60" || !strings.Contains(w.Body.String(), "too many wrong tokens") {
			t.Errorf("%s: got %d %v %s", guess, w.Code, w.Header(), w.Body)
		}
	}
	for name, ok := range map[string]struct{ address, token string }{
		"right before":         {here, shopToken},
		"beyond guessing":      {here, made},
		"from another address": {elsewhere, mobileToken},
	} {
		if w := f.from(ok.address, ok.token); w.Code != 200 {
			t.Errorf("%s: got %d %s", name, w.Code, w.Body)
		}
	}
	// No token at all is no guess.
	if w := f.from(here, ""); w.Code != 401 {
		t.Errorf("no token: got %d", w.Code)
	}
}

func TestMistypedTokensAreNotLookedUp(t *testing.T) {
	f := newFixture(t, setup{limits: Limits{MaxGuesses: 1}})
	text := core.NewTokenText()
	for range 3 {
		if w := f.from("192.0.2.7:1111", text[:len(text)-1]); w.Code != 401 || !strings.Contains(w.Body.String(), "mistyped") {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	}
}

func TestGuessesOfOneNetworkCountTogether(t *testing.T) {
	g := newGuesses(1, time.Second)
	for name, same := range map[string][2]string{
		"port":        {"192.0.2.7:1111", "192.0.2.7:2222"},
		"an IPv6 /64": {"[2001:db8::1]:1111", "[2001:db8::ffff:1]:1111"},
	} {
		if g.origin(same[0]) != g.origin(same[1]) {
			t.Errorf("%s: %v differ", name, same)
		}
	}
	for _, other := range [][2]string{{"192.0.2.7:1111", "192.0.2.8:1111"}, {"[2001:db8::1]:1", "[2001:db8:0:1::1]:1"}} {
		if g.origin(other[0]) == g.origin(other[1]) {
			t.Errorf("%v are the same", other)
		}
	}
}
