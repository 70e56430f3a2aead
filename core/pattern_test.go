package core_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/core"
)

func pattern(match core.Match, name string) core.Pattern {
	return core.Pattern{Address: core.Address{Backend: "wamp", Name: name}, Match: match}
}

func wampName(name string) core.Address { return core.Address{Backend: "wamp", Name: name} }

// The examples of the WAMP draft, "Pattern-based Subscriptions".
func TestPatternMatches(t *testing.T) {
	for _, tt := range []struct {
		p    core.Pattern
		yes  []string
		nope []string
	}{
		{
			pattern(core.Exact, "com.myapp.topic"),
			[]string{"com.myapp.topic"},
			[]string{"com.myapp.topic1", "com.myapp", "com.myapp.topic."},
		},
		{
			pattern(core.Prefix, "com.myapp.topic.emergency"),
			[]string{"com.myapp.topic.emergency", "com.myapp.topic.emergency.11", "com.myapp.topic.emergency-low", "com.myapp.topic.emergency.category.severe"},
			[]string{"com.myapp.topic.emerge", "com.myapp2.topic.emergency"},
		},
		{
			pattern(core.Wildcard, "com.myapp..userevent"),
			[]string{"com.myapp.foo.userevent", "com.myapp.bar.userevent", "com.myapp.a12.userevent"},
			[]string{"com.myapp.foo.userevent.bar", "com.myapp.foo.user", "com.myapp2.foo.userevent", "com.myapp.userevent", "com.myapp..userevent"},
		},
		{
			pattern(core.Wildcard, ".x."),
			[]string{"a.x.b"},
			[]string{"a.x", "x.b", "a.y.b", "a.x.b.c"},
		},
	} {
		var table core.PatternTable[bool]
		table.Set(tt.p, true)
		for _, name := range tt.yes {
			if _, found := table.Best(wampName(name)); !found || !tt.p.Matches(wampName(name)) {
				t.Errorf("%v should match %q", tt.p, name)
			}
		}
		for _, name := range tt.nope {
			if _, found := table.Best(wampName(name)); found || tt.p.Matches(wampName(name)) {
				t.Errorf("%v should not match %q", tt.p, name)
			}
		}
		if tt.p.Matches(core.Address{Backend: "redis", Name: tt.yes[0]}) {
			t.Errorf("%v matches on another backend", tt.p)
		}
	}
}

// The table finds exactly what comparing with each pattern finds, whatever was
// added and removed before.
func TestPatternTableFindsWhatMatchesFinds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	name := func(empty bool) string {
		comps := make([]string, 1+r.IntN(4))
		for i := range comps {
			comps[i] = string(rune('a' + r.IntN(3)))
			if empty && r.IntN(3) == 0 {
				comps[i] = ""
			}
		}
		return strings.Join(comps, ".")
	}
	var table core.PatternTable[core.Pattern]
	all := map[core.Pattern]bool{}
	for range 5000 {
		match := []core.Match{core.Exact, core.Prefix, core.Wildcard}[r.IntN(3)]
		p := pattern(match, name(match == core.Wildcard))
		if r.IntN(3) == 0 {
			delete(all, p)
			table.Delete(p)
		} else {
			all[p] = true
			table.Set(p, p)
		}
		if _, ok := table.Get(p); ok != all[p] {
			t.Fatalf("Get(%v) = %v", p, ok)
		}
		if table.Len() != len(all) {
			t.Fatalf("Len = %d, want %d", table.Len(), len(all))
		}
		a := wampName(name(false))
		var got, want []string
		table.Each(a, func(p core.Pattern) bool {
			got = append(got, p.String())
			return true
		})
		for p := range all {
			if p.Matches(a) {
				want = append(want, p.String())
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("patterns for %v = %v, want %v", a, got, want)
		}
	}
}

// The example of the WAMP draft, "Pattern-based Registrations", where it agrees
// with the draft's rule for prefixes (which are prefixes of characters, as nexus
// and Crossbar have it).
func TestBestFollowsWAMPsOrder(t *testing.T) {
	var table core.PatternTable[int]
	for i, p := range []core.Pattern{
		1: pattern(core.Exact, "a1.b2.c3.d4.e55"),
		2: pattern(core.Prefix, "a1.b2.c3"),
		3: pattern(core.Prefix, "a1.b2.c3.d4"),
		4: pattern(core.Wildcard, "a1.b2..d4.e5"),
		5: pattern(core.Wildcard, "a1.b2.c33..e5"),
		6: pattern(core.Wildcard, "a1.b2..d4.e5..g7"),
		7: pattern(core.Wildcard, "a1.b2..d4..f6.g7"),
	} {
		if i > 0 {
			table.Set(p, i)
		}
	}
	for name, want := range map[string]int{
		"a1.b2.c3.d4.e55":          1,
		"a1.b2.c3.d98.e74":         2,
		"a1.b2.c3.d4.e325":         3,
		"a1.b2.c55.d4.e5":          4,
		"a1.b2.c33.d4.e5":          2,
		"a1.b2.c88.d4.e5.f6.g7":    6,
		"a2.b2.c2.d2.e2":           0,
		"a1.b2.c77.d4.e99.f6.g7":   7,
		"a1.b2.c3.d4.e5.f6.g7.xxx": 3,
	} {
		if got, _ := table.Best(wampName(name)); got != want {
			t.Errorf("Best(%q) = %d, want %d", name, got, want)
		}
	}
}

func FuzzPattern(f *testing.F) {
	f.Add("com..created", "com.order.created")
	f.Add("", "a")
	f.Add("..", "a.b.c")
	f.Fuzz(func(t *testing.T, p, name string) {
		for _, match := range []core.Match{core.Exact, core.Prefix, core.Wildcard} {
			var table core.PatternTable[bool]
			table.Set(pattern(match, p), true)
			if _, got := table.Best(wampName(name)); got != pattern(match, p).Matches(wampName(name)) {
				t.Errorf("table and Matches disagree on %s %q and %q", match, p, name)
			}
			table.Delete(pattern(match, p))
			if table.Len() != 0 {
				t.Errorf("%q stays after Delete", p)
			}
		}
	})
}

// The cost of a look-up must not grow with the number of patterns.
func BenchmarkPatternTable(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var table core.PatternTable[int]
			for i := range n {
				table.Set(pattern(core.Prefix, fmt.Sprintf("com.shop%d.order.", i)), i)
				table.Set(pattern(core.Wildcard, fmt.Sprintf("com..order%d.created", i)), i)
				table.Set(pattern(core.Exact, fmt.Sprintf("com.shop%d.order%d.created", i, i)), i)
			}
			a := wampName(fmt.Sprintf("com.shop%d.order%d.created", n/2, n/2))
			for b.Loop() {
				found := 0
				table.Each(a, func(int) bool {
					found++
					return true
				})
				if found != 2 {
					b.Fatal(found)
				}
			}
		})
	}
}
