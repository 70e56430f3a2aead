package python_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/anybridge/anybridge/backends/backendtest"
)

// TestConformance runs the suite on the plugin in Python.
func TestConformance(t *testing.T) {
	setUp(t)
	program, err := filepath.Abs("run")
	if err != nil {
		t.Fatal(err)
	}
	backendtest.Run(t, backendtest.System{
		Command:    []string{program},
		Config:     func(testing.TB) json.RawMessage { return json.RawMessage(`{"greeting": "hello"}`) },
		BadConfigs: map[string]string{`{"greeting": 1}`: "greeting"},
		Answer:     func(topic string) string { return "echo." + topic },
		Exact:      true,
	})
}

// setUp makes the plugin's environment, unless it is there.
func setUp(t *testing.T) {
	t.Helper()
	venv, err := filepath.Abs("../../.tools/plugin-venv")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(venv); err != nil && os.Getenv("ANYBRIDGE_TEST_CLIENTS") != "required" {
		t.Skip("no environment for Python: run VENV=$PWD/.tools/plugin-venv examples/plugin-python/setup")
	}
	cmd := exec.CommandContext(t.Context(), "./setup")
	cmd.Env = append(os.Environ(), "VENV="+venv)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("setup: %v\n%s", err, out)
	}
}
