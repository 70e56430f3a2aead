package irc_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/anybridge/anybridge/backends/irc"
	"github.com/anybridge/anybridge/backends/irc/irctest"
	"github.com/anybridge/anybridge/core"
)

// register makes an account with NickServ and stays logged in to it.
func register(t *testing.T, s *irctest.Server, account string) *irctest.Client {
	t.Helper()
	c := irctest.Dial(t, s.Addr, account)
	eventually(t, "services are there", func() bool {
		c.Send("PRIVMSG NickServ :REGISTER pass-word %s@example.com", account)
		time.Sleep(300 * time.Millisecond)
		return strings.Contains(strings.Join(c.Lines(), "\n"), ":NickServ!")
	})
	c.Expect(` 900 .* :You are now logged in as `)
	return c
}

func TestServices(t *testing.T) {
	t.Parallel()
	s := irctest.StartInspIRCd(t, irctest.Options{Services: true})
	alice := register(t, s, "alice")
	owner := register(t, s, "bridge")
	pair, err := tls.LoadX509KeyPair(s.Cert, s.Key)
	if err != nil {
		t.Fatal(err)
	}
	print := sha256.Sum256(pair.Certificate[0])
	owner.Send("PRIVMSG NickServ :CERT ADD %s", hex.EncodeToString(print[:]))
	owner.Expect(`NickServ!\S+ NOTICE bridge :Added fingerprint`)
	owner.Send("NICK owner")
	owner.Expect("NICK :?owner")
	alice.Join("#ops")

	overTLS := map[string]any{"ca": s.CA, "cert": s.Cert, "key": s.Key}
	check := func(t *testing.T, nick string, changes map[string]any) *irc.Backend {
		t.Helper()
		all := map[string]any{"server": s.TLSAddr, "tls": overTLS, "nick": nick, "channels": []any{"#ops"}}
		for key, value := range changes {
			all[key] = value
		}
		b := open(t, config(s, all))
		if st := state(t, b); st.State != core.Up {
			t.Fatalf("status %+v", st)
		}
		alice.Send("WHOIS %s", nick)
		alice.Expect(` 330 alice ` + nick + ` bridge :is logged in as`)
		alice.Expect(` 318 `)
		return b
	}
	t.Run("sasl plain", func(t *testing.T) {
		b := check(t, "plain", map[string]any{"sasl": map[string]any{"account": "bridge", "password": "pass-word"}})
		me := subscribe(t, b, "@me", core.Exact)
		alice.Send("PRIVMSG plain :hello")
		if e := me.next(); detail(t, e.Details, "publisher_authid") != "alice" {
			t.Errorf("details %s", e.Details)
		}
	})
	t.Run("sasl external", func(t *testing.T) {
		check(t, "external", map[string]any{"sasl": map[string]any{"mechanism": "external"}})
	})
	t.Run("wrong password", func(t *testing.T) {
		b := irc.New(discard())
		if _, err := b.Open(t.Context(), config(s, map[string]any{"sasl": map[string]any{"account": "bridge", "password": "wrong-hush"}})); err != nil {
			t.Fatal(err)
		}
		defer b.Close(t.Context())
		if st := state(t, b); st.State != core.Down || !strings.Contains(st.Reason, "sasl") || strings.Contains(st.Reason, "hush") {
			t.Errorf("status %+v", st)
		}
	})
	t.Run("nickserv", func(t *testing.T) {
		check(t, "byname", map[string]any{"nickserv": map[string]any{"account": "bridge", "password": "pass-word"}})
	})
	t.Run("regain", func(t *testing.T) {
		thief := irctest.Dial(t, s.Addr, "bridge")
		b := open(t, config(s, map[string]any{"nickserv": map[string]any{"account": "bridge", "password": "pass-word"}}))
		eventually(t, "the nick is back", func() bool {
			return state(t, b).State == core.Up && !strings.Contains(state(t, b).Reason, "the nick is")
		})
		thief.Close()
		publish(t, b, "alice", core.TextPayload("it is me"))
		alice.Expect(`^:bridge!\S+ PRIVMSG alice :it is me`)
	})
	t.Run("wrong certificate", func(t *testing.T) {
		b := irc.New(discard())
		if _, err := b.Open(t.Context(), config(s, map[string]any{"server": s.TLSAddr, "tls": true})); err != nil {
			t.Fatal(err)
		}
		defer b.Close(t.Context())
		if st := state(t, b); st.State == core.Up || !strings.Contains(st.Reason, "certificate") {
			t.Errorf("status %+v", st)
		}
	})
}
