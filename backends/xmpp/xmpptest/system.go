package xmpptest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/backends/backendtest"
	"github.com/anybridge/anybridge/core"
)

// System is the server for the conformance suite, without the backend. The backends are sessions of one
// account, which find each other's commands; the even topics are rooms and the odd ones
// nodes.
func (s *Server) System(t testing.TB) backendtest.System {
	const account = "anybridge"
	jid := s.Account(t, account)
	config := func(more map[string]any) json.RawMessage {
		c := map[string]any{
			"jid": jid, "password": Password(account),
			"server": s.Addr, "tls": map[string]any{"ca": s.CA},
		}
		for k, v := range more {
			c[k] = v
		}
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	return backendtest.System{
		Config:      func(testing.TB) json.RawMessage { return config(nil) },
		BurstConfig: func(testing.TB) json.RawMessage { return config(map[string]any{"max_queued_events": 100}) },
		BadConfigs: map[string]string{
			`{"jid": "x@", "password": "hidden"}`:                        "jid",
			`{"jid": "a@b", "password": "hidden", "tls": {"mode": "x"}}`: "tls",
			`{"jid": "a@b", "password": ["hidden"]}`:                     "password",
		},
		Secrets: []string{Password(account), "hidden"},
		Kill:    func(testing.TB) { s.Kill() },
		Start:   func(t testing.TB) { s.Restart(t) },
		Topic: func(i int) string {
			if i%2 == 0 {
				return fmt.Sprintf("room%d@%s", i, Rooms)
			}
			return fmt.Sprintf("%s!node%d", PubSub, i)
		},
		Pattern: func(_ core.Match, name string) (string, []string, string) {
			return name, []string{name}, strings.Replace(name, "o", "oo", 1)
		},
		BadNames:         []string{"a@b@c", "room@rooms.xmpp.test/nick", "x y@z", "pubsub.xmpp.test!"},
		Events:           100,
		Burst:            300,
		SharesProcedures: true,
	}
}
