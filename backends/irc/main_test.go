package irc_test

import (
	"flag"
	"log/slog"
	"testing"

	"github.com/anybridge/anybridge/backends/backendtest"
	"github.com/anybridge/anybridge/backends/irc"
	"github.com/anybridge/anybridge/core"
)

func newBackend(log *slog.Logger) core.Backend { return irc.New(log) }

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "12") // the tests wait for servers most of the time
	backendtest.Main(m, newBackend)
}
