package core_test

import (
	"encoding/json"
	"testing"

	"github.com/anybridge/anybridge/core"
)

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", `"\/`, "a\nb\r\t\x00\x1f\x7f", "ä€😀", "\xff\xc3(", "\u2028<>&"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var back string
		if err := json.Unmarshal(core.AppendString(nil, s), &back); err != nil {
			t.Fatalf("%q: %v, read back as %q", s, err, back)
		}
		var theirs string
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &theirs); err != nil || back != theirs {
			t.Errorf("%q: read back as %q, of encoding/json's as %q", s, back, theirs)
		}
	})
}
