package plugins

import (
	"context"
	"sync"

	"github.com/anybridge/anybridge/core"
)

// gate counts what is in flight, bounds it, and lets somebody wait for its end.
type gate struct {
	mu     sync.Mutex
	limit  int
	inside int
	closed bool
	empty  chan struct{} // made by drain; closed when nothing is inside
}

func (g *gate) setLimit(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = n
}

func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return core.Errorf(core.Unavailable, "the backend is being closed")
	case g.inside >= g.limit:
		return tooMany(g.limit)
	}
	g.inside++
	return nil
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.inside == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// drain lets nobody in any more and waits until all are out, or ctx ends.
func (g *gate) drain(ctx context.Context) {
	g.mu.Lock()
	g.closed = true
	if g.inside > 0 && g.empty == nil {
		g.empty = make(chan struct{})
	}
	empty := g.empty
	g.mu.Unlock()
	if empty == nil {
		return
	}
	select {
	case <-empty:
	case <-ctx.Done():
	}
}
