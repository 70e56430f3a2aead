package redis

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/anybridge/anybridge/core"
)

const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
	steadyTime = 5 * time.Second // a connection that lasts so long resets the pauses
)

// health is how one of the backend's connections is.
type health struct {
	what string
	log  *slog.Logger

	mu    sync.Mutex
	tried chan struct{} // closed after the first attempt
	state core.State
	err   error
	next  time.Time // of the next attempt
	since time.Time // when it came up
	times int64     // how often it came up
}

func newHealth(what string, log *slog.Logger) *health {
	return &health{what: what, log: log, state: core.Connecting, tried: make(chan struct{})}
}

// keep runs session again and again until ctx ends. A session calls h.up when it is
// connected, and returns why it is not any more.
func (h *health) keep(ctx context.Context, session func(context.Context) error) {
	pause := firstPause
	for {
		err := session(ctx)
		if ctx.Err() != nil {
			return
		}
		wait := pause/2 + rand.N(pause) //nolint:gosec // not a secret
		if h.down(err, wait) >= steadyTime {
			pause = firstPause
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, lastPause)
	}
}

func (h *health) up(addr string) {
	h.mu.Lock()
	h.state, h.err, h.next, h.since = core.Up, nil, time.Time{}, time.Now()
	h.times++
	again := h.times > 1
	h.firstLocked()
	h.mu.Unlock()
	h.log.Info("connected to redis", slog.String("connection", h.what), slog.String("addr", addr), slog.Bool("again", again))
}

// down notes the error and returns how long the connection had been up.
func (h *health) down(err error, wait time.Duration) (lasted time.Duration) {
	h.mu.Lock()
	news := h.state == core.Up || h.err == nil || h.err.Error() != err.Error()
	if h.state == core.Up {
		lasted = time.Since(h.since)
	}
	h.state, h.err, h.next = core.Connecting, err, time.Now().Add(wait)
	if core.CodeOf(err) == core.Forbidden {
		h.state = core.Down
	}
	h.firstLocked()
	h.mu.Unlock()
	if news {
		h.log.Warn("no connection to redis: trying again", slog.String("connection", h.what), slog.Any("error", err))
	}
	return lasted
}

func (h *health) firstLocked() {
	select {
	case <-h.tried:
	default:
		close(h.tried)
	}
}

func (h *health) ready(ctx context.Context) {
	select {
	case <-h.tried:
	case <-ctx.Done():
	}
}

// unavailable is the answer while the connection is away.
func (h *health) unavailable() *core.Error {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := core.Errorf(core.Unavailable, "not connected to redis yet")
	if h.err != nil {
		e = core.Errorf(core.Unavailable, "no connection to redis: %w", h.err)
	}
	e.RetryAfter = max(time.Until(h.next), firstPause)
	return e
}

func (h *health) status() (core.State, string, int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return h.state, h.err.Error(), h.times
	}
	return h.state, "", h.times
}
