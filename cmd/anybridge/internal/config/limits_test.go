package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/core"
)

func TestLimits(t *testing.T) {
	c := load(t, `
limits: {rate: "${RATE}", endpoints: 500, body: 2097152, connections: 100, connections_per_address: 20}
tokens:
  usual: {token: "the first of the tokens", allow: []}
  fast:  {token: "the second of the tokens", allow: [], rate: unlimited, endpoints: unlimited}
  slow:  {token: "the third of the tokens", allow: [], rate: {per_second: 0.5, burst: 10}, endpoints: 7}
  even:  {token: "the fourth of the tokens", allow: [], rate: 100}
`, testOptions(map[string]string{"RATE": "2.5"}))
	for i, want := range []core.TokenLimits{
		{PerSecond: 2.5, Burst: 3, Endpoints: 500},
		{},
		{PerSecond: 0.5, Burst: 10, Endpoints: 7},
		{PerSecond: 100, Burst: 100, Endpoints: 500},
	} {
		if got := c.Tokens[i]; got.Limits != want {
			t.Errorf("%s: got %+v, want %+v", got.Name, got.Limits, want)
		}
	}
	if l := c.Limits; l.Body != 2<<20 || l.Connections != 100 || l.ConnectionsPerAddress != 20 {
		t.Errorf("got %+v", l)
	}
	if c := load(t, "", testOptions(nil)); c.Limits != (Limits{Token: core.TokenLimits{Endpoints: 10_000}}) {
		t.Errorf("defaults: %+v", c.Limits)
	}
}

func TestPreviousSecrets(t *testing.T) {
	made := core.NewTokenText()
	hash := strings.Repeat("ab", 32)
	c := load(t, `
tokens:
  text:  {token: "`+made+`", previous: "${OLD}", allow: []}
  hash:  {hash: "ab_abcdefgh:sha256:`+hash+`", previous: "sha256:`+strings.Repeat("cd", 32)+`", allow: []}
  alone: {token: "only this one, no other", allow: []}
`, testOptions(map[string]string{"OLD": "what the token was before"}))
	if a := c.Tokens[0]; a.ID != core.TokenID(made) || a.ID == "" || a.Previous.ID != "" || a.Previous.Hash != core.HashToken("what the token was before") {
		t.Errorf("got %+v", a)
	}
	if b := c.Tokens[1]; b.ID != "abcdefgh" || b.Hash[0] != 0xab || b.Previous.Hash[0] != 0xcd {
		t.Errorf("got %+v", b)
	}
	if c.Tokens[2].Replaced() || !c.Tokens[1].Replaced() {
		t.Errorf("got %+v", c.Tokens)
	}
}

func TestAuditFile(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "anybridge-data/audit.log",
		"data_dir: d":                  "d/audit.log",
		"audit: {file: log/a}":         "log/a",
		"audit: {}":                    "anybridge-data/audit.log",
		"audit: off":                   "",
		"audit: false":                 "",
		`audit: {file: "${UNSET:-x}"}`: "x",
	} {
		c := load(t, text, testOptions(nil))
		if want != "" {
			want = filepath.Join(filepath.Dir(c.File), want)
		}
		if got := c.AuditFile(); got != want {
			t.Errorf("%s: got %s", text, got)
		}
	}
}
