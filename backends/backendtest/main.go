package backendtest

import (
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins"
)

// roleEnv, if it is set, makes a test program the plugin instead of the tests.
const roleEnv = "ANYBRIDGE_BACKENDTEST_PLUGIN"

// Main is what TestMain calls: it serves the backend where the suite has started the test
// program as its plugin, and else runs the tests and looks for goroutines that they
// left behind. It does not return.
func Main(m *testing.M, newBackend func(log *slog.Logger) core.Backend) {
	if os.Getenv(roleEnv) != "" {
		plugins.Serve(func(env plugins.Env) core.Backend { return newBackend(env.Log) })
		os.Exit(0)
	}
	if os.Getenv(mainEnv) == "" {
		_ = os.Setenv(mainEnv, "yes") // Run sees that the program can be its plugin
	}
	goleak.VerifyTestMain(m) // exits
}

// mainEnv tells Run that TestMain has called Main.
const mainEnv = "ANYBRIDGE_BACKENDTEST_MAIN"
