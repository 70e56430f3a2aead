package wamp_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"testing"

	"github.com/anybridge/anybridge/backends/backendtest"
	"github.com/anybridge/anybridge/backends/wamp"
	"github.com/anybridge/anybridge/core"
)

// TestConformance joins sessions to a router that is killed and comes back.
func TestConformance(t *testing.T) {
	r := &killable{address: freeAddress(t)}
	r.start(t)
	t.Cleanup(func() { r.kill(t) })
	backendtest.Run(t, backendtest.System{
		New: func(log *slog.Logger) core.Backend { return wamp.New(log) },
		Config: func(testing.TB) json.RawMessage {
			return fmt.Appendf(nil, `{"url": "ws://%s/ws", "realm": "realm1"}`, r.address)
		},
		BurstConfig: func(testing.TB) json.RawMessage {
			return fmt.Appendf(nil, `{"url": "ws://%s/ws", "realm": "realm1", "max_queued_events": 500}`, r.address)
		},
		BadConfigs: map[string]string{
			`{}`:                                   "router or url",
			`{"url": "ftp://x/", "realm": "r"}`:    "url",
			`{"url": "ws://x/", "realm": 1}`:       "realm",
			`{"router": {"listen": "nowhere:no"}}`: "router",
		},
		Kill:       r.kill,
		Start:      r.start,
		NoRetained: true, // SUBSCRIBE does without get_retained
		BadNames:   []string{"a b", "a..b", ".a", "a.", "#a"},
	})
}

// killable is a router inside another backend, which is closed at once in place of
// being killed.
type killable struct {
	address string
	inside  *wamp.Backend
}

func (k *killable) start(t testing.TB) {
	k.inside = wamp.New(slog.New(slog.DiscardHandler))
	section := fmt.Appendf(nil, `{"router": {"listen": %q, "realms": ["realm1"]}}`, k.address)
	if _, err := k.inside.Open(within(t), section); err != nil {
		t.Fatal(err)
	}
}

func (k *killable) kill(t testing.TB) {
	if err := k.inside.Close(within(t)); err != nil {
		t.Error(err)
	}
}

func freeAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
