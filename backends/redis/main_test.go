package redis_test

import (
	"log/slog"
	"testing"

	"github.com/anybridge/anybridge/backends/backendtest"
	"github.com/anybridge/anybridge/backends/redis"
	"github.com/anybridge/anybridge/core"
)

func newBackend(log *slog.Logger) core.Backend { return redis.New(log) }

func TestMain(m *testing.M) { backendtest.Main(m, newBackend) }
