package wamp_test

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/backends/wamp"
	"github.com/anybridge/anybridge/core"
)

func TestConfigMistakes(t *testing.T) {
	for config, says := range map[string]string{
		`{}`: "router or url is missing",
		`{"router": {"listen": "127.0.0.1:0", "realms": ["a"]}, "url": "ws://x/"}`:                             "exclude each other",
		`{"url": "ws://x/", "realm": "r", "auht": {}}`:                                                         `auht: unknown key; did you mean "auth"?`,
		`{"url": "ws://x/", "realm": "r", "auth": {"method": "ticket", "authid": "a", "tikcet": "s3cret"}}`:    `auth.tikcet: unknown key; did you mean "ticket"?`,
		`{"router": {"listen": "127.0.0.1:0", "realms": ["a"], "principals": {"joe": {"tickets": "s3cret"}}}}`: `router.principals.joe.tickets: unknown key; did you mean "ticket"?`,
		`{"router": {"listen": "127.0.0.1:0", "realms": ["a"]}, "tokens": [{"nam": "x"}]}`:                     `tokens[0].nam: unknown key; did you mean "name"?`,
		`{"url": "ws://x/"}`:                                    "realm: which realm",
		`{"url": "http://x/", "realm": "r"}`:                    `scheme "http": want ws, wss, rs, rss or unix`,
		`{"url": "rs://x", "realm": "r"}`:                       "a port is missing",
		`{"url": 7}`:                                            "url: want a string",
		`{"url": "ws://x/", "realm": "r", "serializer": "xml"}`: "want json, msgpack or cbor",
		`{"url": "ws://x/", "realm": "r", "auth": {"method": "wampcra", "secret": "s3cret"}}`:                      "method wampcra needs an authid",
		`{"url": "ws://x/", "realm": "r", "auth": {"method": "cryptosign", "private_key": "s3cret"}}`:              "auth.private_key: want an Ed25519 seed",
		`{"url": "ws://x/", "realm": "r", "auth": {"method": "basic", "secret": "s3cret"}}`:                        `method "basic": want anonymous`,
		`{"url": "ws://x/", "realm": "r", "tls": {"ca": "/nowhere"}}`:                                              "tls.ca: open /nowhere",
		`{"router": {"listen": "127.0.0.1:0", "realms": ["a"]}, "realm": "b"}`:                                     `"b" is not among router.realms`,
		`{"router": {"listen": "127.0.0.1:0", "realms": ["a"]}, "auth": {"method": "ticket", "ticket": "s3cret"}}`: "auth: only with url",
		`{"url": "ws://x/", "realm": "r", "callee_sessions": -1}`:                                                  "callee_sessions: -1 is negative",
	} {
		_, err := wamp.New(slog.New(slog.DiscardHandler)).Open(t.Context(), json.RawMessage(config))
		if core.CodeOf(err) != core.InvalidArgument || !strings.Contains(err.Error(), says) {
			t.Errorf("%s\n\t%v\n\twant %q", config, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s\n\t%v shows the secret", config, err)
		}
	}
}

// TestConfigMistakesAtOnce reports everything that is wrong.
func TestConfigMistakesAtOnce(t *testing.T) {
	_, err := wamp.New(slog.New(slog.DiscardHandler)).Open(t.Context(), json.RawMessage(`{"url": "ftp://x", "serializer": "xml", "max_message": -1}`))
	for _, says := range []string{"realm:", "url:", "serializer:", "max_message:"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v\n\twant %q", err, says)
		}
	}
}
