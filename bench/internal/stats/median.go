package stats

import "slices"

// Median returns the middle of v (the mean of the two middle values when there
// is an even number of them), or 0 when v is empty. v keeps its order.
func Median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// Ratios divides ours by theirs, round by round: neighbours in time share
// whatever else the machine was doing, so their ratio is steadier than the ratio
// of two medians. A round where either is zero says nothing and is left out.
func Ratios(ours, theirs []float64) []float64 {
	var r []float64
	for i := range min(len(ours), len(theirs)) {
		if ours[i] > 0 && theirs[i] > 0 {
			r = append(r, ours[i]/theirs[i])
		}
	}
	return r
}
