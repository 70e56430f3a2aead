package roles

import (
	"sync"
	"time"

	"github.com/anybridge/anybridge/bench/internal/stats"
)

// sink counts events and how long they took.
type sink struct {
	mu      sync.Mutex
	total   uint64 // since the start
	drained uint64 // total at the last drain
	latency stats.Histogram
	bad     int64
	changed chan struct{} // closed and replaced at every event somebody waits for
}

func newSink() *sink { return &sink{changed: make(chan struct{})} }

func (s *sink) record(payload []byte) {
	now := time.Now()
	stamp, ok := readStamp(payload)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total++
	if ok {
		s.latency.Record(now.Sub(stamp))
	} else {
		s.bad++
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// next returns the count and a channel that is closed when it is out of date.
func (s *sink) next() (uint64, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total, s.changed
}

// drain waits until as many events have come as were expected since the last
// drain, then a little for those that should not have come, and reports.
func (s *sink) drain(c Command) Report {
	timeout := time.After(c.Timeout)
	for waiting := true; waiting; {
		total, changed := s.next()
		if total-s.drained >= uint64(c.Expect) {
			break
		}
		select {
		case <-changed:
		case <-timeout:
			waiting = false
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := Report{Ops: int64(s.total - s.drained), Errors: s.bad, P50: s.latency.Quantile(0.5), P99: s.latency.Quantile(0.99)}
	s.drained, s.bad = s.total, 0
	s.latency.Reset()
	return r
}
