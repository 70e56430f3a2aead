package session_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets the test program be a nexus router as well: tests of what happens
// when a router dies start it as a process of its own.
func TestMain(m *testing.M) {
	if config := os.Getenv(nexusEnv); config != "" {
		runNexus(config)
		return
	}
	goleak.VerifyTestMain(m)
}
