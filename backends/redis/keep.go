package redis

import (
	"log/slog"
	"time"

	"github.com/anybridge/anybridge/plugins/kit"
)

// firstPause is the shortest pause before something is tried again.
const firstPause = 100 * time.Millisecond

// newLink makes the link of one of the backend's connections.
func newLink(what string, log *slog.Logger) *kit.Link {
	return kit.NewLink(kit.LinkOptions{Name: "redis", FirstPause: firstPause, Log: log.With(slog.String("connection", what))})
}
