package plugins

import (
	"math/rand/v2"
	"time"
)

// backoff is how long to wait after so many failures: least, doubled each time up
// to most, less up to a half at random so that many do not come back together.
func backoff(least, most time.Duration, failures int) time.Duration {
	d := least << min(failures, 16)
	if d > most || d <= 0 {
		d = most
	}
	//nolint:gosec // spreads load, protects nothing
	return d - time.Duration(rand.Int64N(int64(d)/2+1))
}
