package xmpp_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/backends/backendtest"
	"github.com/anybridge/anybridge/backends/xmpp"
	"github.com/anybridge/anybridge/backends/xmpp/xmpptest"
	"github.com/anybridge/anybridge/core"
)

func TestMain(m *testing.M) {
	backendtest.Main(m, func(log *slog.Logger) core.Backend { return xmpp.New(log) })
}

// The backends are sessions of one account, which find each other's commands; the even
// topics are rooms and the odd ones nodes.
func TestConformance(t *testing.T) {
	server := xmpptest.Start(t)
	config := func(more map[string]any) json.RawMessage {
		c := map[string]any{
			"jid": server.Account(t, "anybridge"), "password": xmpptest.Password("anybridge"),
			"server": server.Addr, "tls": map[string]any{"ca": server.CA},
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
	backendtest.Run(t, backendtest.System{
		New:         func(log *slog.Logger) core.Backend { return xmpp.New(log) },
		Config:      func(testing.TB) json.RawMessage { return config(nil) },
		BurstConfig: func(testing.TB) json.RawMessage { return config(map[string]any{"max_queued_events": 100}) },
		BadConfigs: map[string]string{
			`{"jid": "x@", "password": "hidden"}`:                        "jid",
			`{"jid": "a@b", "password": "hidden", "tls": {"mode": "x"}}`: "tls",
			`{"jid": "a@b", "password": ["hidden"]}`:                     "password",
		},
		Secrets: []string{xmpptest.Password("anybridge"), "hidden"},
		Kill:    func(testing.TB) { server.Kill() },
		Start:   func(t testing.TB) { server.Restart(t) },
		Topic: func(i int) string {
			if i%2 == 0 {
				return fmt.Sprintf("room%d@%s", i, xmpptest.Rooms)
			}
			return fmt.Sprintf("%s!node%d", xmpptest.PubSub, i)
		},
		Pattern: func(_ core.Match, name string) (string, []string, string) {
			return name, []string{name}, strings.Replace(name, "o", "oo", 1)
		},
		BadNames:         []string{"a@b@c", "room@rooms.xmpp.test/nick", "x y@z", "pubsub.xmpp.test!"},
		Events:           100,
		Burst:            300,
		SharesProcedures: true,
	})
}
