package plugins

import (
	"context"
	"sync"
	"time"
)

// cancels holds the contexts of what is running, by the ids of the requests. Requests
// that are handled together share one: it ends when none of them is wanted any more.
type cancels struct {
	mu   sync.Mutex
	byID map[uint64]*shared
}

type shared struct {
	cancel context.CancelFunc
	wanted int // requests that are neither done nor cancelled
}

func newCancels() *cancels { return &cancels{byID: map[uint64]*shared{}} }

// open makes the context of requests that add names.
func (c *cancels) open(parent context.Context, timeout time.Duration) (context.Context, *shared) {
	s := &shared{}
	var ctx context.Context
	if timeout > 0 {
		ctx, s.cancel = context.WithTimeout(parent, timeout)
	} else {
		ctx, s.cancel = context.WithCancel(parent)
	}
	return ctx, s
}

func (c *cancels) add(s *shared, ids ...uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.wanted += len(ids)
	for _, id := range ids {
		c.byID[id] = s
	}
}

// end says that these requests are done, or cancelled: whatever comes first.
func (c *cancels) end(ids ...uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		s := c.byID[id]
		if s == nil {
			continue
		}
		delete(c.byID, id)
		if s.wanted--; s.wanted == 0 {
			s.cancel()
		}
	}
}
