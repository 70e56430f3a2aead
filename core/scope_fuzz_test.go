package core_test

import (
	"testing"

	"github.com/anybridge/anybridge/core"
)

// What a scope grants a backend in its own terms is what it grants the bridge.
func FuzzScope(f *testing.F) {
	f.Add("call:com.shop.*", "com.shop.add")
	f.Add("call:a.*.b", "a.x.b")
	f.Add("call:*", "wamp.session.count")
	f.Add("call:wamp:x:y", "x:y")
	f.Fuzz(func(t *testing.T, scope, name string) {
		g, err := core.ParseGrants([]string{scope}, "wamp")
		if err != nil {
			return
		}
		again, err := core.ParseGrants(g.For("wamp"), "wamp")
		if err != nil {
			t.Fatalf("For(%q) = %q, which does not parse: %v", scope, g.For("wamp"), err)
		}
		for _, v := range []core.Verb{core.VerbCall, core.VerbRegister, core.VerbPublish, core.VerbSubscribe} {
			if g.Allow(v, wampName(name)) != again.Allow(v, wampName(name)) {
				t.Errorf("scope %q and %q differ on %s %q", scope, g.For("wamp"), v, name)
			}
			for _, m := range []core.Match{core.Prefix, core.Wildcard} {
				if p := pattern(m, name); g.AllowPattern(v, p) != again.AllowPattern(v, p) {
					t.Errorf("scope %q and %q differ on %s %v", scope, g.For("wamp"), v, p)
				}
			}
		}
	})
}
