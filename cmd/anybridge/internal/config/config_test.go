package config

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/core"
)

var update = flag.Bool("update", false, "write the golden files anew")

// testOptions knows one kind of backend, which finds three mistakes in sections
// that have principals.
func testOptions(env map[string]string) Options {
	return Options{
		LookupEnv: func(name string) (string, bool) {
			value, ok := env[name]
			return value, ok
		},
		Kinds: map[string]Kind{"wamp": {Paths: []string{"router.tls.cert"}, Check: func(section json.RawMessage) error {
			var s struct {
				Router struct{ Principals []any }
			}
			if err := json.Unmarshal(section, &s); err != nil || len(s.Router.Principals) == 0 {
				return err
			}
			return core.Errorf(core.InvalidArgument, "%w", errors.Join(
				core.Errorf(core.InvalidArgument, "router.listen: no port"),
				core.Errorf(core.InvalidArgument, "router: %w", errors.Join(errors.New("path: no slash"), errors.New("paths: nothing there"))),
				errors.Join(
					core.Errorf(core.InvalidArgument, "router.principals[1].role: want text"),
					core.Errorf(core.InvalidArgument, "router.realms: a realm is missing"),
				),
				errors.New("something about the whole"),
			))
		}}},
	}
}

// Every file in testdata/errors is refused with exactly the mistakes in the golden
// file beside it.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/errors/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no test files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			o := testOptions(map[string]string{"SECRET_IN_ENV": "ab_s3cr3t", "SCOPE": "jump:x"})
			o.File = file
			_, err := Load(o)
			if err == nil {
				t.Fatal("no mistake was found")
			}
			dir, _ := os.Getwd()
			got := strings.ReplaceAll(err.Error(), dir, "DIR") + "\n"
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			if strings.Contains(got, "s3cr3t") {
				t.Error("a secret is shown")
			}
		})
	}
}
