package engine_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets the test program be a bridge's engine as well: tests of what survives
// start it as a process of its own, and end it the hard way.
func TestMain(m *testing.M) {
	if durability := os.Getenv(victimEnv); durability != "" {
		runVictim(durability)
		return
	}
	if conf := os.Getenv(nodeEnv); conf != "" {
		runNode(conf)
		return
	}
	if conf := os.Getenv(bridgeEnv); conf != "" {
		runBridge(conf)
		return
	}
	goleak.VerifyTestMain(m)
}
