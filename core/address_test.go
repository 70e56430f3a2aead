package core_test

import (
	"strings"
	"testing"

	"github.com/anybridge/anybridge/core"
)

func TestParseAddress(t *testing.T) {
	for _, tt := range []struct{ in, backend, name string }{
		{"com.shop.order", "wamp", "com.shop.order"},
		{"redis:orders", "redis", "orders"},
		{"irc:#ops", "irc", "#ops"},
		{"redis:stream:orders", "redis", "stream:orders"},
		{"xmpp:ops@rooms.example.org", "xmpp", "ops@rooms.example.org"},
		{"#ops:x", "wamp", "#ops:x"}, // "#ops" cannot be a backend's name
		{"été", "wamp", "été"},
	} {
		a, err := core.ParseAddress(tt.in, "wamp")
		if err != nil || a != (core.Address{Backend: tt.backend, Name: tt.name}) {
			t.Errorf("ParseAddress(%q) = %v, %v", tt.in, a, err)
		}
		if back, err := core.ParseAddress(a.String(), "other"); err != nil || back != a {
			t.Errorf("String of %v reads back as %v, %v", a, back, err)
		}
		if back, err := core.ParseAddress(a.Text("wamp"), "wamp"); err != nil || back != a {
			t.Errorf("Text of %v reads back as %v, %v", a, back, err)
		}
	}
	for _, bad := range []string{"", "redis:", "a\nb", "a\x00", "a\u2028b", "\xff", strings.Repeat("x", 2000), "Redis\u0085"} {
		if a, err := core.ParseAddress(bad, "wamp"); core.CodeOf(err) != core.InvalidArgument {
			t.Errorf("ParseAddress(%q) = %v, %v; want an invalid_argument error", bad, a, err)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"com.shop.order", "redis:orders", "a:b:c", ":", "irc:#ops", "\u2028"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := core.ParseAddress(s, "wamp")
		if err != nil {
			return
		}
		if back, err := core.ParseAddress(a.String(), "other"); err != nil || back != a {
			t.Errorf("String of %v reads back as %v, %v", a, back, err)
		}
		if back, err := core.ParseAddress(a.Text("wamp"), "wamp"); err != nil || back != a {
			t.Errorf("Text of %v reads back as %v, %v", a, back, err)
		}
	})
}
