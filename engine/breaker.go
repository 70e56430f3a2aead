package engine

import "time"

// An endpoint is parked after this many attempts in a row have failed: what it is
// owed waits on the disk, and one delivery at a time probes it.
const parkAfter = 5

// The pause before the first probe of a parked endpoint, and the longest one.
const (
	firstProbe = 5 * time.Second
	lastProbe  = 5 * time.Minute
)

// disableAfter is how long an endpoint may fail without one success before nothing
// is sent to it any more.
const disableAfter = 5 * 24 * time.Hour

// breaker keeps a failing endpoint from being tried too often, and from holding
// more attempts at once than it has shown to answer.
type breaker struct {
	failures  int       // in a row
	since     time.Time // of the first of them
	parked    bool
	disabled  string // why nothing is sent any more, or ""
	pause     time.Duration
	probe     time.Time // when a parked endpoint is tried next
	allowance int       // attempts at once that its answers have earned
}

// succeeded notes an answer and reports whether the endpoint was parked.
func (b *breaker) succeeded() (recovered bool) {
	recovered = b.parked
	b.failures, b.since, b.pause, b.probe, b.parked = 0, time.Time{}, 0, time.Time{}, false
	if b.allowance < 1<<20 {
		b.allowance = max(1, 2*b.allowance)
	}
	return recovered
}

// failed notes a failure and reports whether the endpoint is to be parked now.
// asked is how long the endpoint wants to be left alone, or 0.
func (b *breaker) failed(now time.Time, asked time.Duration) (park bool) {
	if b.failures == 0 {
		b.since = now
	}
	b.failures++
	b.allowance = max(1, b.allowance/2)
	switch {
	case b.parked && now.Before(b.probe):
		return false // it was under way when the endpoint was parked
	case b.parked:
		b.pause = min(2*b.pause, lastProbe)
	case b.failures >= parkAfter:
		b.parked, b.pause, park = true, firstProbe, true
	default:
		return false
	}
	b.probe = now.Add(max(jitter(b.pause), min(asked, maxRetryAfter)))
	if now.Sub(b.since) > disableAfter {
		b.disabled = "it has failed for " + now.Sub(b.since).Round(time.Hour).String()
	}
	return park
}

// limit is how many attempts may be under way at once.
func (b *breaker) limit(concurrency int) int {
	if b.parked {
		return 1
	}
	return min(concurrency, max(1, b.allowance))
}
