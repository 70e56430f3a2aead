package xmpptest_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/anybridge/anybridge/backends/backendtest"
	"github.com/anybridge/anybridge/backends/xmpp"
	"github.com/anybridge/anybridge/backends/xmpp/xmpptest"
	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins"
)

// roleEnv, if it is set, makes this program the backend's plugin.
const roleEnv = "ANYBRIDGE_XMPPTEST_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) != "" {
		plugins.Serve(func(env plugins.Env) core.Backend { return xmpp.New(env.Log) })
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// The suite on ejabberd, beside the one on Prosody in the package xmpp. What is different
// without a process of its own does not depend on the server, so it is left to that one.
func TestConformance(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	system := xmpptest.StartEjabberd(t).System(t)
	system.Command, system.Env = []string{self}, []string{roleEnv + "=yes"}
	backendtest.Run(t, system)
}
