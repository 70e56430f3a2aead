package wamp_test

import (
	"log/slog"
	"testing"

	"github.com/anybridge/anybridge/backends/backendtest"
	"github.com/anybridge/anybridge/backends/wamp"
	"github.com/anybridge/anybridge/core"
)

func TestMain(m *testing.M) {
	backendtest.Main(m, func(log *slog.Logger) core.Backend { return wamp.New(log) })
}
