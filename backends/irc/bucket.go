package irc

import "time"

// bucket is a token bucket: burst at once, then one per interval. With interval 0
// there is always one.
type bucket struct {
	burst    int
	interval time.Duration
	tokens   float64
	at       time.Time
}

func newBucket(burst int, interval time.Duration, now time.Time) bucket {
	return bucket{burst: burst, interval: interval, tokens: float64(burst), at: now}
}

func (b *bucket) refill(now time.Time) {
	if b.interval > 0 && now.After(b.at) {
		b.tokens = min(float64(b.burst), b.tokens+float64(now.Sub(b.at))/float64(b.interval))
	}
	b.at = now
}

// wait is how long until n tokens are there.
func (b *bucket) wait(n int, now time.Time) time.Duration {
	b.refill(now)
	if missing := float64(n) - b.tokens; b.interval > 0 && missing > 0 {
		return time.Duration(missing * float64(b.interval))
	}
	return 0
}

// spend takes a token even if none is there: what comes later waits for it. The debt
// is bounded by one burst.
func (b *bucket) spend(now time.Time) {
	b.refill(now)
	if b.interval > 0 {
		b.tokens = max(b.tokens-1, -float64(b.burst))
	}
}

// take takes a token if there is one.
func (b *bucket) take(now time.Time) bool {
	if b.wait(1, now) > 0 {
		return false
	}
	b.spend(now)
	return true
}
