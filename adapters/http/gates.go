package rest

import (
	"context"
	"slices"
	"sync"
	"time"
)

// gates bound the callbacks under way: those to one host, and then all together.
// Who waits for a slow host takes no place from the others. Within a host it is
// first come, first served.
type gates struct {
	perHost int
	all     chan struct{}

	mu    sync.Mutex
	hosts map[string]*gate // those with callbacks under way
}

type gate struct {
	now     int
	waiting []chan struct{} // closed when a place was handed over
}

func newGates(perHost, all int) *gates {
	return &gates{perHost: perHost, all: make(chan struct{}, all), hosts: map[string]*gate{}}
}

// enter waits for a place, until ctx ends or for patience: then errBusy.
func (g *gates) enter(ctx context.Context, host string, patience time.Duration) error {
	g.mu.Lock()
	h := g.hosts[host]
	if h == nil {
		h = &gate{}
		g.hosts[host] = h
	}
	var turn chan struct{}
	if h.now < g.perHost {
		h.now++
	} else {
		turn = make(chan struct{})
		h.waiting = append(h.waiting, turn)
	}
	g.mu.Unlock()
	if turn == nil {
		select {
		case g.all <- struct{}{}:
			return nil
		default:
		}
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	if turn != nil {
		select {
		case <-turn:
		case <-timer.C:
			g.giveUp(host, turn)
			return errBusy
		case <-ctx.Done():
			g.giveUp(host, turn)
			return context.Cause(ctx)
		}
	}
	select {
	case g.all <- struct{}{}:
		return nil
	case <-timer.C:
		g.leaveHost(host)
		return errBusy
	case <-ctx.Done():
		g.leaveHost(host)
		return context.Cause(ctx)
	}
}

// leave gives the place back.
func (g *gates) leave(host string) {
	<-g.all
	g.leaveHost(host)
}

func (g *gates) leaveHost(host string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := g.hosts[host]
	if len(h.waiting) > 0 {
		close(h.waiting[0])
		h.waiting = h.waiting[1:]
		return
	}
	if h.now--; h.now == 0 {
		delete(g.hosts, host)
	}
}

// giveUp leaves the queue, or the place that was handed over meanwhile.
func (g *gates) giveUp(host string, turn chan struct{}) {
	g.mu.Lock()
	h := g.hosts[host]
	if i := slices.Index(h.waiting, turn); i >= 0 {
		h.waiting = slices.Delete(h.waiting, i, i+1)
		g.mu.Unlock()
		return
	}
	g.mu.Unlock()
	g.leaveHost(host)
}
