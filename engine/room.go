package engine

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/core"
)

// The parts of the store that stay free for what has been taken already: retries,
// backlogs and dead letters have to be written before what they replace is removed.
// The first is kept from publishers; they were told of room before they published,
// so what they have published may use the half of it. Events of others wait then.
const (
	reserve     = 0.05
	lastReserve = 0.025
)

// room measures the store.
type room struct {
	full, last atomic.Bool   // no room for publishers; none at all
	added      atomic.Int64  // bytes, since the store was measured
	look       chan struct{} // to measure now
}

// measurePart is the part of the store that is filled at most between two looks.
const measurePart = 0.01

// Room implements core.Deliverer.
func (e *Engine) Room() error {
	switch {
	case e.closing.Load():
		return core.Errorf(core.Unavailable, "the bridge is shutting down")
	case e.room.full.Load():
		return noRoom()
	case !e.store.Connected():
		err := core.Errorf(core.Unavailable, "the engine's server is away: deliveries cannot be stored")
		err.RetryAfter = time.Second
		return err
	}
	return nil
}

func noRoom() error {
	err := core.Errorf(core.TooMany, "no room is left for deliveries (engine.max_bytes): endpoints that are down hold too much; see GET /status/")
	err.RetryAfter = 10 * time.Second
	return err
}

// addedBytes notes that more has been stored.
func (e *Engine) addedBytes(n int) {
	_, limit := e.store.Used()
	if float64(e.room.added.Add(int64(n))) < measurePart*float64(limit) {
		return
	}
	select {
	case e.room.look <- struct{}{}:
	default:
	}
}

// measure watches the size of the store: every second, and when much has come.
func (e *Engine) measure() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-e.room.look:
		case <-e.ctx.Done():
			return
		}
		e.room.added.Store(0)
		ctx, cancel := context.WithTimeout(e.ctx, 5*time.Second)
		err := e.store.Measure(ctx)
		cancel()
		if err != nil {
			continue // Connected tells
		}
		used, limit := e.store.Used()
		e.room.last.Store(float64(used) > (1-lastReserve)*float64(limit))
		full := float64(used) > (1-reserve)*float64(limit)
		if full == e.room.full.Swap(full) {
			continue
		}
		if full {
			e.log.Error("the store is full: publishing is refused", slog.Int64("bytes", used), slog.Int64("max_bytes", limit))
		} else {
			e.log.Info("the store has room again", slog.Int64("bytes", used))
		}
	}
}
