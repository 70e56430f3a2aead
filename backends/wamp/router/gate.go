package router

import (
	"sync"
	"time"
)

const (
	freeFailures = 5                      // failures in a row that cost nothing
	failureDelay = 100 * time.Millisecond // for each one after
	maxDelay     = 3 * time.Second
	forgetAfter  = time.Minute
	maxHosts     = 4096
)

// gate makes guessing slow: an address that keeps failing to authenticate waits
// longer and longer for the answer.
type gate struct {
	mu    sync.Mutex
	hosts map[string]failures
}

type failures struct {
	count int
	last  time.Time
}

// failed takes note of a failure and waits its delay, or until done is closed.
func (g *gate) failed(host string, done <-chan struct{}) {
	delay := g.note(host, time.Now())
	if delay <= 0 {
		return
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-done:
	}
}

func (g *gate) note(host string, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hosts == nil {
		g.hosts = map[string]failures{}
	}
	if _, known := g.hosts[host]; !known && len(g.hosts) >= maxHosts {
		for h := range g.hosts { // any one
			delete(g.hosts, h)
			break
		}
	}
	f := g.hosts[host]
	if now.Sub(f.last) > forgetAfter {
		f.count = 0
	}
	f.count++
	f.last = now
	g.hosts[host] = f
	return min(time.Duration(f.count-freeFailures)*failureDelay, maxDelay)
}
