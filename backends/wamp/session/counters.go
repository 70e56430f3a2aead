package session

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// counters are cumulative; see core.Status.
type counters struct {
	joins, eventsIn, eventsDropped    atomic.Int64
	published, calls                  atomic.Int64
	invocationsIn, invocationsRefused atomic.Int64
	damaged, unexpected               atomic.Int64

	lastWarning atomic.Int64 // Unix nanoseconds
	suppressed  atomic.Int64
}

func (c *counters) snapshot() map[string]int64 {
	return map[string]int64{
		"joins":               c.joins.Load(),
		"events_in":           c.eventsIn.Load(),
		"events_dropped":      c.eventsDropped.Load(),
		"events_published":    c.published.Load(),
		"calls":               c.calls.Load(),
		"invocations_in":      c.invocationsIn.Load(),
		"invocations_refused": c.invocationsRefused.Load(),
		"messages_damaged":    c.damaged.Load(),
		"messages_unexpected": c.unexpected.Load(),
	}
}

// warnInterval is how often limitedWarn writes.
const warnInterval = 10 * time.Second

// limitedWarn logs what can happen a million times a second.
func (s *Session) limitedWarn(msg string, attrs ...any) {
	now := time.Now().UnixNano()
	last := s.count.lastWarning.Load()
	if now-last < int64(warnInterval) || !s.count.lastWarning.CompareAndSwap(last, now) {
		s.count.suppressed.Add(1)
		return
	}
	s.log.Warn(msg, append(attrs, slog.Int64("suppressed", s.count.suppressed.Swap(0)))...)
}
