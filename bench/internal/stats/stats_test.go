package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestQuantilesStayWithinTheBucketWidth(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h Histogram
	var all []time.Duration
	for range 100_000 {
		d := time.Duration(math.Exp(r.Float64() * 20)) // 1 ns to 485 ms
		all = append(all, d)
		h.Record(d)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[min(int(q*float64(len(all))), len(all)-1)]
		got := h.Quantile(q)
		if got < want || float64(got-want) > float64(want)/sub {
			t.Errorf("Quantile(%v) = %v, want %v to 1.6 %% more", q, got, want)
		}
	}
}

func TestEveryBucketIsWhereItsUpperValueGoes(t *testing.T) {
	for i := range buckets {
		if got := index(upper(i)); got != i {
			t.Fatalf("index(upper(%d)) = %d", i, got)
		}
		if i > 0 && index(upper(i-1)+1) != i {
			t.Fatalf("the value after bucket %d goes to %d, want %d", i-1, index(upper(i-1)+1), i)
		}
	}
	if got := index(math.MaxInt64); got >= buckets {
		t.Fatalf("the largest duration goes to bucket %d of %d", got, buckets)
	}
}

func TestMergeEqualsRecordingInOne(t *testing.T) {
	var a, b, one Histogram
	for i := range 1000 {
		d := time.Duration(i*i) * time.Microsecond
		one.Record(d)
		if i%3 == 0 {
			a.Record(d)
		} else {
			b.Record(d)
		}
	}
	a.Merge(&b)
	if a != one {
		t.Error("the merged histogram differs")
	}
	a.Reset()
	if a.Count() != 0 || a.Quantile(0.99) != 0 {
		t.Error("Reset left something")
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{7}, 7}, {[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		in := slices.Clone(c.in)
		if got := Median(c.in); got != c.want {
			t.Errorf("Median(%v) = %v, want %v", c.in, got, c.want)
		}
		if !slices.Equal(in, c.in) {
			t.Errorf("Median changed its argument: %v", c.in)
		}
	}
}

func TestRatiosPairRoundsAndSkipEmptyOnes(t *testing.T) {
	got := Ratios([]float64{10, 0, 30, 40, 50}, []float64{20, 5, 0, 10})
	if want := []float64{0.5, 4}; !slices.Equal(got, want) {
		t.Errorf("Ratios = %v, want %v", got, want)
	}
}
