package engine

import (
	"math/rand/v2"
	"time"
)

// DefaultRetry is when a delivery is tried again, counted from the attempt before.
func DefaultRetry() []time.Duration {
	return []time.Duration{
		5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute,
		time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
	}
}

// maxRetryAfter bounds how long an endpoint can put us off.
const maxRetryAfter = 24 * time.Hour

// nextAttempt is the pause before attempt number n+1 (n ≥ 1 attempts have been
// made), or ok = false when the schedule is used up. What the endpoint asked for
// counts if it is longer. The jitter of ±20 % keeps endpoints that failed together
// from being tried together.
func nextAttempt(schedule []time.Duration, n int, asked time.Duration) (pause time.Duration, ok bool) {
	if n > len(schedule) {
		return 0, false
	}
	pause = jitter(schedule[n-1])
	return max(pause, min(asked, maxRetryAfter)), true
}

func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64())) //nolint:gosec // not a secret
}
