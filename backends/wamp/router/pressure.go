package router

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// highMark and lowMark are the queue lengths at which a session begins and
	// ceases to be backed up.
	highMark = 1024
	lowMark  = 256
	// crowd is the share of the active subscribers that must be backed up before
	// publishers are held back: one in eight.
	crowd = 8
	// maxHold is the longest that one PUBLISH is held back.
	maxHold = time.Second
	// minProgress is how many messages a backed-up session must take in each
	// interval of the watch, to count.
	minProgress = 8
)

// pressure holds publishers of a realm back while its subscribers cannot keep up
// with them, so that a burst fills nobody's queue. It looks at the crowd: a few slow
// subscribers among many slow nobody down, nor does one that has stopped reading;
// their own queues overflow instead.
type pressure struct {
	over   atomic.Int64 // sessions that are backed up and make progress
	active atomic.Int64 // sessions that took messages in the last interval

	mu   sync.Mutex
	gate chan struct{} // closed when the pressure is gone; nil while there is none
}

func (p *pressure) high() bool {
	over := p.over.Load()
	return over > 0 && over*crowd >= p.active.Load()
}

// change counts a session in or out.
func (p *pressure) change(delta int64) {
	p.over.Add(delta)
	if !p.high() {
		p.release()
	}
}

func (p *pressure) release() {
	p.mu.Lock()
	if p.gate != nil {
		close(p.gate)
		p.gate = nil
	}
	p.mu.Unlock()
}

// wait returns when there is no pressure, when maxHold has passed or when one of the
// two channels is closed.
func (p *pressure) wait(done, cancel <-chan struct{}) {
	if !p.high() {
		return
	}
	p.mu.Lock()
	if p.gate == nil {
		p.gate = make(chan struct{})
	}
	gate := p.gate
	p.mu.Unlock()
	if !p.high() {
		return
	}
	timer := time.NewTimer(maxHold)
	defer timer.Stop()
	select {
	case <-gate:
	case <-done:
	case <-cancel:
	case <-timer.C:
	}
}

// strain is a session's part in the pressure on its realm. It is guarded by the
// mailbox's mu.
type strain struct {
	over    bool  // the queue was beyond highMark and has not been below lowMark since
	counted bool  // and it is counted in pressure
	seen    int64 // messages taken until the last look of the watch
}

// changed takes note of the queue's length.
func (s *strain) changed(p *pressure, count, most int) {
	switch {
	case !s.over && count >= min(highMark, most/4):
		s.over, s.counted = true, true
		p.change(1)
	case s.over && count <= min(lowMark, most/16):
		if s.counted {
			p.change(-1)
		}
		s.over, s.counted = false, false
	}
}

// watch is called at intervals; a backed-up session that makes no progress is not
// counted any more. It reports whether the session took anything.
func (s *strain) watch(p *pressure, taken int64) (active bool) {
	progress := taken - s.seen
	s.seen = taken
	if s.counted && progress < minProgress {
		s.counted = false
		p.change(-1)
	}
	return progress > 0
}
