package backendtest_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/anybridge/anybridge/backends/backendtest"
	"github.com/anybridge/anybridge/core"
)

func TestMain(m *testing.M) { backendtest.Main(m, newMemory) }

func system(t testing.TB, fault string) backendtest.System {
	h := startHub(t)
	return backendtest.System{
		New:         newMemory,
		Config:      func(testing.TB) json.RawMessage { return memorySection(h.addr, fault, 100_000) },
		BurstConfig: func(testing.TB) json.RawMessage { return memorySection(h.addr, fault, 500) },
		BadConfigs:  map[string]string{`{}`: "hub", `{"hub": 1}`: "hub"},
		Secrets:     []string{"Pa55word"},
		Kill:        h.kill,
		Start:       h.start,
	}
}

func TestMemory(t *testing.T) { backendtest.Run(t, system(t, "")) }

// faultEnv makes TestFault run the suite on a backend with that fault.
const faultEnv = "BACKENDTEST_FAULT"

func TestFault(t *testing.T) {
	fault := os.Getenv(faultEnv)
	if fault == "" {
		t.Skip("run by TestSuiteCatches")
	}
	s := system(t, fault)
	s.Patience = 8 * time.Second
	backendtest.Run(t, s)
}

// TestSuiteCatches runs the suite over backends that each do one thing wrong.
func TestSuiteCatches(t *testing.T) {
	for fault, check := range map[string]string{
		"blocks":     "burst",
		"cancel":     "cancel",
		"close":      "",
		"context":    "publish",
		"echo":       "own events",
		"end":        "close with streams",
		"forgets":    "server killed",
		"gapless":    "server killed",
		"hangs":      "server killed",
		"lax":        "wrong configuration",
		"leak":       "open and close",
		"loses":      "order",
		"order":      "order",
		"overflow":   "burst",
		"queues":     "server killed",
		"random":     "invocation policies",
		"retain":     "retain",
		"secret":     "",
		"subscribed": "unsubscribe",
		"topic":      "patterns",
		"zombie":     "open and close",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			run := "^TestFault$/^direct$"
			if check != "" {
				run += "/^" + strings.ReplaceAll(check, " ", "_") + "$"
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", run, "-test.timeout", "2m")
			cmd.Env = append(os.Environ(), faultEnv+"="+fault, "GORACE=atexit_sleep_ms=0")
			out, err := cmd.CombinedOutput()
			failed := "--- FAIL: TestFault/direct/" + strings.ReplaceAll(check, " ", "_")
			if check == "" {
				failed = "--- FAIL: TestFault/direct"
			}
			if err == nil || !strings.Contains(string(out), failed) {
				t.Errorf("not caught: %v\n%s", err, tail(string(out)))
			}
		})
	}
}

func tail(s string) string { return s[max(0, len(s)-3000):] }

var _ core.Backend = (*memory)(nil)
