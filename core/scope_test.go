package core_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/core"
)

func grants(t testing.TB, scopes ...string) core.Grants {
	t.Helper()
	g, err := core.ParseGrants(scopes, "wamp")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGrantsAllow(t *testing.T) {
	for _, tt := range []struct {
		scope   string
		yes, no []string
	}{
		{"call:com.shop.*", []string{"com.shop.add", "com.shop.a.b"}, []string{"com.shop", "com.shopping.add", "org.shop.add"}},
		{"call:com.sh*", []string{"com.shop", "com.sh", "com.shop.add"}, []string{"com.s", "net.shop"}},
		{"call:com.shop.*.created", []string{"com.shop.order.created"}, []string{"com.shop.created", "com.shop.a.b.created", "com.shop..created"}},
		{"call:com.*.x.*", []string{"com.a.x.b", "com.a.x.b.c"}, []string{"com.a.x", "com.a.y.b"}},
		{"call:add2", []string{"add2"}, []string{"add22", "add2.x", "add"}},
		{"call:*", []string{"a", "a.b.c"}, []string{"wamp.session.count"}},
		{"call:wamp.session.*", []string{"wamp.session.count"}, []string{"wamp.registration.list"}},
		{"*", []string{"a", "wamp.session.count"}, nil},
		{"call:irc:#ops", nil, []string{"#ops"}},
	} {
		g := grants(t, tt.scope)
		for _, name := range tt.yes {
			if !g.Allow(core.VerbCall, wampName(name)) {
				t.Errorf("%q should allow calling %q", tt.scope, name)
			}
		}
		for _, name := range tt.no {
			if g.Allow(core.VerbCall, wampName(name)) {
				t.Errorf("%q should not allow calling %q", tt.scope, name)
			}
		}
		if tt.scope != "*" && len(tt.yes) > 0 && g.Allow(core.VerbPublish, wampName(tt.yes[0])) {
			t.Errorf("%q allows publishing", tt.scope)
		}
	}
	if g := grants(t, "publish:irc:#ops"); !g.Allow(core.VerbPublish, core.Address{Backend: "irc", Name: "#ops"}) {
		t.Error("publish:irc:#ops does not allow it")
	}
	if !grants(t, "admin").Admin() || !grants(t, "*").Admin() || grants(t, "call:*").Admin() {
		t.Error("admin")
	}
}

func TestParseGrantsNamesWhatIsWrong(t *testing.T) {
	for _, bad := range []string{"", "call", "call:", "fly:com.x", "com.shop.*", "call:a*b.c", "admin:x", "call:*x.y", "call:a\nb"} {
		_, err := core.ParseGrants([]string{"call:ok", bad}, "wamp")
		if core.CodeOf(err) != core.InvalidArgument || !strings.Contains(err.Error(), "scope") {
			t.Errorf("ParseGrants(%q) = %v", bad, err)
		}
	}
}

// A pattern is allowed only if every name that it matches is.
func TestAllowPatternNeverExceedsAllow(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	random := func(alphabet ...string) string {
		comps := make([]string, 1+r.IntN(3))
		for i := range comps {
			comps[i] = alphabet[r.IntN(len(alphabet))]
		}
		return strings.Join(comps, ".")
	}
	allowed := 0
	for range 20_000 {
		scope := random("a", "b", "*", "wamp")
		if r.IntN(2) == 0 {
			scope += "*"
		}
		g, err := core.ParseGrants([]string{"subscribe:" + scope}, "wamp")
		if err != nil {
			continue
		}
		p := pattern(core.Prefix, random("a", "b", "ab", "w", "wamp"))
		if r.IntN(2) == 0 {
			p = pattern(core.Wildcard, random("a", "b", "", "wamp"))
		}
		if !g.AllowPattern(core.VerbSubscribe, p) {
			continue
		}
		allowed++
		for range 50 {
			a := wampName(random("a", "b", "ab", "abc", "wamp", "x"))
			if p.Match == core.Prefix && r.IntN(2) == 0 {
				a = wampName(p.Name + strings.TrimSuffix(random("a", "b", "x.y"), "."))
			}
			if p.Matches(a) && !g.Allow(core.VerbSubscribe, a) {
				t.Fatalf("scope %q allows %v but not %q, which it matches", scope, p, a.Name)
			}
		}
	}
	if allowed < 100 {
		t.Errorf("only %d patterns were allowed: the test says nothing", allowed)
	}
}

func TestGrantsForOneBackend(t *testing.T) {
	g := grants(t, "call:com.*", "publish:irc:#ops", "subscribe:wamp:x.*.y", "admin", "register:irc:*")
	if got, want := g.For("wamp"), []string{"call:com.*", "subscribe:x.*.y"}; !slices.Equal(got, want) {
		t.Errorf("For(wamp) = %q, want %q", got, want)
	}
	if got, want := g.For("irc"), []string{"publish:#ops", "register:*"}; !slices.Equal(got, want) {
		t.Errorf("For(irc) = %q, want %q", got, want)
	}
	if got := grants(t, "*").For("x"); !slices.Equal(got, []string{"*"}) {
		t.Errorf("For of everything = %q", got)
	}
}
