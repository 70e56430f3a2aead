// Package stats holds what the bench computes from what it has measured.
package stats

import (
	"math/bits"
	"time"
)

// Buckets are linear within each power of two: 64 of them keep a quantile
// within 1/64 (1.6 %) of the true value, whatever its size.
const (
	subBits = 6
	sub     = 1 << subBits
	buckets = (64 - subBits) * sub
)

// Histogram counts durations. The zero value is empty and ready. It is not for
// concurrent use: every worker owns one, and Merge adds them up afterwards, so
// that measuring costs no lock.
type Histogram struct {
	counts [buckets]uint64
	n      uint64
	max    time.Duration
}

// Record counts d; a negative duration counts as zero.
func (h *Histogram) Record(d time.Duration) {
	if d < 0 {
		d = 0
	}
	h.counts[index(uint64(d))]++
	h.n++
	h.max = max(h.max, d)
}

// Merge adds what o has counted.
func (h *Histogram) Merge(o *Histogram) {
	for i, c := range o.counts {
		h.counts[i] += c
	}
	h.n += o.n
	h.max = max(h.max, o.max)
}

// Reset forgets everything.
func (h *Histogram) Reset() { *h = Histogram{} }

// Count is the number of recorded durations.
func (h *Histogram) Count() uint64 { return h.n }

// Quantile returns the duration below which the share q (0..1) of the recorded
// ones lies, or 0 when nothing was recorded.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := min(uint64(q*float64(h.n)), h.n-1)
	var seen uint64
	for i, c := range h.counts {
		seen += c
		if seen > rank {
			return min(time.Duration(upper(i)), h.max)
		}
	}
	return h.max
}

func index(v uint64) int {
	if v < sub {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return shift*sub + int(v>>shift)
}

// upper is the largest value that index puts into bucket i.
func upper(i int) uint64 {
	if i < 2*sub {
		return uint64(i)
	}
	shift := i/sub - 1
	return (uint64(i-shift*sub)+1)<<shift - 1
}
