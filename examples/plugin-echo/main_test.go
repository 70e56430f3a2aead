package main

import (
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/anybridge/anybridge/backends/backendtest"
	"github.com/anybridge/anybridge/core"
)

func newEcho(log *slog.Logger) core.Backend { return &echo{log: log} }

func TestMain(m *testing.M) { backendtest.Main(m, newEcho) }

func TestConformance(t *testing.T) {
	backendtest.Run(t, backendtest.System{
		New:        newEcho,
		Config:     func(testing.TB) json.RawMessage { return json.RawMessage(`{"greeting": "hello"}`) },
		BadConfigs: map[string]string{`{"greeting": 1}`: "greeting"},
		Answer:     func(topic string) string { return "echo." + topic },
		Exact:      true,
	})
}
