package core_test

import (
	"strings"
	"testing"

	"github.com/anybridge/anybridge/core"
)

func TestNearest(t *testing.T) {
	known := []string{"endpoints", "token", "timeout", "url"}
	for word, want := range map[string]string{
		"endpoint": "endpoints", "endopints": "endpoints", "TOKEN": "token", "tmieout": "timeout", "ulr": "url",
		"zzz": "", "": "", strings.Repeat("token", 100): "", "\xff": "",
	} {
		if got := core.Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
