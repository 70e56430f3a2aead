package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPluginNew makes a plugin in an empty folder and does what is said next.
func TestPluginNew(t *testing.T) {
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, language := range []string{"go", "python"} {
		t.Run(language, func(t *testing.T) {
			t.Chdir(t.TempDir())
			args := []string{"plugin", "new", "fax", "--checkout", checkout}
			steps := [][]string{{"go", "mod", "tidy"}, {"go", "vet", "./..."}, {"go", "test", "-count=1", "./..."}}
			if language == "python" {
				if _, err := os.Stat(filepath.Join(checkout, ".tools/plugin-venv")); err != nil && os.Getenv("ANYBRIDGE_TEST_CLIENTS") != "required" {
					t.Skip("no environment for Python")
				}
				args, steps = append(args, "--python"), append([][]string{{"./setup"}}, steps...)
			} else {
				steps = append(steps, []string{"go", "build"})
			}
			var out bytes.Buffer
			c := cli{in: strings.NewReader(""), out: &out, err: &out, lookupEnv: os.LookupEnv}
			if code := run(args, c); code != 0 || !strings.HasPrefix(out.String(), "wrote fax: now cd fax && ") {
				t.Fatalf("exit code %d: %s", code, out.String())
			}
			for _, step := range steps {
				cmd := exec.CommandContext(t.Context(), step[0], step[1:]...)
				cmd.Dir = "fax"
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", step, err, out)
				}
			}
			if code := run(args, c); code == 0 || !strings.Contains(out.String(), "fax exists already") {
				t.Errorf("the second time: exit code %d: %s", code, out.String())
			}
		})
	}
}
