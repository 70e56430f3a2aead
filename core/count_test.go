package core_test

import (
	"testing"

	"github.com/anybridge/anybridge/core"
)

func TestWhatAnOwnerHoldsIsCounted(t *testing.T) {
	h := newHouse(t)
	h.subscribe(t, sub("a", pattern(core.Exact, "x")), sub("a", pattern(core.Prefix, "x")), sub("b", pattern(core.Exact, "x")))
	if err := h.Register(t.Context(), []*core.Registration{reg("a", "x", "")}); err != nil {
		t.Fatal(err)
	}
	for owner, want := range map[string]int{"a": 3, "b": 1, "c": 0} {
		if got := h.Held(owner); got != want {
			t.Errorf("%s: got %d, want %d", owner, got, want)
		}
	}
	asked := []core.Pattern{pattern(core.Exact, "x"), pattern(core.Prefix, "x"), pattern(core.Exact, "y")}
	for owner, want := range map[string][2]int{"a": {1, 2}, "b": {2, 3}, "c": {3, 3}} {
		if got := [2]int{h.Lacks(owner, core.VerbSubscribe, asked), h.Lacks(owner, core.VerbRegister, asked)}; got != want {
			t.Errorf("%s: got %v, want %v", owner, got, want)
		}
	}
}
