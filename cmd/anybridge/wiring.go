package main

import (
	"encoding/json"
	"log/slog"
	"slices"
	"strings"

	"github.com/anybridge/anybridge/backends/irc"
	"github.com/anybridge/anybridge/backends/redis"
	"github.com/anybridge/anybridge/backends/wamp"
	"github.com/anybridge/anybridge/backends/xmpp"
	"github.com/anybridge/anybridge/cmd/anybridge/internal/config"
	"github.com/anybridge/anybridge/core"
)

// builtin is one kind of backend that comes with the program.
type builtin struct {
	kind string
	new  func(log *slog.Logger) core.Backend
	// check finds the mistakes in a section without opening anything.
	check config.Check
	// paths are the keys that name files: they are relative to the configuration.
	paths []string
	// tokens says that the backend lets the bridge's tokens in by itself, and gets
	// them as "tokens" in its section.
	tokens bool
	// describe tells people in a few words what a section means; nil: nothing.
	describe func(section json.RawMessage) string
}

// builtins is the table of everything that can stand after "kind:".
func builtins() []builtin {
	return []builtin{
		{
			kind:     "wamp",
			new:      func(log *slog.Logger) core.Backend { return wamp.New(log) },
			check:    wamp.CheckConfig,
			paths:    []string{"router.tls.cert", "router.tls.key"},
			tokens:   true,
			describe: describeWAMP,
		},
		{
			kind:  "redis",
			new:   func(log *slog.Logger) core.Backend { return redis.New(log) },
			check: redis.CheckConfig,
			paths: []string{"tls.ca", "tls.cert", "tls.key"},
		},
		{
			kind:  "irc",
			new:   func(log *slog.Logger) core.Backend { return irc.New(log) },
			check: irc.CheckConfig,
			paths: []string{"tls.ca", "tls.cert", "tls.key"},
		},
		{
			kind:  "xmpp",
			new:   func(log *slog.Logger) core.Backend { return xmpp.New(log) },
			check: xmpp.CheckConfig,
			paths: []string{"tls.ca"},
		},
	}
}

// describeWAMP names the realms.
func describeWAMP(section json.RawMessage) string {
	var s struct {
		Router struct {
			Realms []string `json:"realms"`
		} `json:"router"`
		Realm string `json:"realm"`
	}
	_ = json.Unmarshal(section, &s) // what is wrong, check says
	realms := s.Router.Realms
	if s.Realm != "" && !slices.Contains(realms, s.Realm) {
		realms = []string{s.Realm}
	}
	return "realm " + strings.Join(realms, ", ")
}

// findBuiltin returns the row of a kind, or nil.
func findBuiltin(kind string) *builtin {
	for _, b := range builtins() {
		if b.kind == kind {
			return &b
		}
	}
	return nil
}

// kinds is what the configuration has to know of the table.
func kinds() map[string]config.Kind {
	out := map[string]config.Kind{}
	for _, b := range builtins() {
		out[b.kind] = config.Kind{Check: b.check, Paths: b.paths}
	}
	return out
}
