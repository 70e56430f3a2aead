package plugins

import (
	"context"
	"sync"
	"time"
)

// cancels holds the means to cancel each running call or publish.
type cancels struct {
	mu   sync.Mutex
	byID map[uint64]context.CancelFunc
}

func newCancels() *cancels { return &cancels{byID: map[uint64]context.CancelFunc{}} }

func (c *cancels) add(parent context.Context, id uint64, timeout time.Duration) context.Context {
	var ctx context.Context
	var cancel context.CancelFunc
	if timeout > 0 {
		ctx, cancel = context.WithTimeout(parent, timeout)
	} else {
		ctx, cancel = context.WithCancel(parent)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byID[id] = cancel
	return ctx
}

// remove forgets one that is there and returns what releases its context.
func (c *cancels) remove(id uint64) context.CancelFunc {
	c.mu.Lock()
	defer c.mu.Unlock()
	cancel := c.byID[id]
	delete(c.byID, id)
	return cancel
}

// cancel ends the contexts of those that are still running.
func (c *cancels) cancel(ids []uint64) {
	for _, id := range ids {
		c.mu.Lock()
		cancel := c.byID[id]
		c.mu.Unlock()
		if cancel != nil {
			cancel()
		}
	}
}
