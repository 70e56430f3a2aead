package xmpp_test

import (
	"log/slog"
	"testing"

	"github.com/anybridge/anybridge/backends/backendtest"
	"github.com/anybridge/anybridge/backends/xmpp"
	"github.com/anybridge/anybridge/backends/xmpp/xmpptest"
	"github.com/anybridge/anybridge/core"
)

func newBackend(log *slog.Logger) core.Backend { return xmpp.New(log) }

func TestMain(m *testing.M) { backendtest.Main(m, newBackend) }

// The suite on ejabberd is in the package xmpptest, and so runs beside this one.
func TestConformance(t *testing.T) {
	system := xmpptest.Start(t).System(t)
	system.New = newBackend
	backendtest.Run(t, system)
}
