package rest

import (
	"sync/atomic"
	"time"
)

// bucket bounds a rate: what is taken comes back at a steady pace, up to a burst
// (the generic cell rate algorithm, ITU-T I.371). All that it keeps is the time at
// which it is full again, so that pace and burst can change under it.
type bucket struct {
	full atomic.Int64 // nanoseconds; 0 while nothing was ever taken
}

// pacing is the shape of a bucket: the time in which one comes back, and how many
// it holds.
type pacing struct {
	pace  time.Duration
	burst int64
}

// take takes one. It returns how many are left, and the time until there is one
// more than that; not ok means that there was none. Now is nanoseconds since any
// fixed time.
func (b *bucket) take(now int64, p pacing) (left int64, more time.Duration, ok bool) {
	pace := int64(p.pace)
	window := pace * p.burst
	for {
		full := b.full.Load()
		next := min(max(full, now), now+window) + pace
		if next > now+window {
			return 0, time.Duration(next - now - window), false
		}
		if b.full.CompareAndSwap(full, next) {
			left = (now + window - next) / pace
			return left, time.Duration(next + (left+1)*pace - now - window), true
		}
	}
}

// wait is how long to wait until one can be taken.
func (b *bucket) wait(now int64, p pacing) time.Duration {
	return time.Duration(max(0, b.full.Load()+int64(p.pace)-now-int64(p.pace)*p.burst))
}
