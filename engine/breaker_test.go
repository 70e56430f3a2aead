package engine

import (
	"testing"
	"time"
)

var start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// failUntilParked fails as often as it takes.
func failUntilParked(t *testing.T, b *breaker, now time.Time) {
	t.Helper()
	for n := 1; n <= parkAfter; n++ {
		if parked := b.failed(now, 0); parked != (n == parkAfter) {
			t.Fatalf("after %d failures: parked is %v", n, parked)
		}
	}
}

func TestBreakerParksAfterFailuresInARow(t *testing.T) {
	var b breaker
	for range parkAfter - 1 {
		b.failed(start, 0)
	}
	b.succeeded()
	failUntilParked(t, &b, start)
	if pause := b.probe.Sub(start); pause < firstProbe*8/10 || pause > firstProbe*12/10 {
		t.Errorf("the first probe comes after %v", pause)
	}
	if b.limit(16) != 1 {
		t.Errorf("%d attempts at once at a parked endpoint", b.limit(16))
	}
	if !b.succeeded() || b.parked || b.failures != 0 || !b.probe.IsZero() {
		t.Errorf("after a success: %+v", b)
	}
}

func TestProbesComeLaterAndLater(t *testing.T) {
	var b breaker
	failUntilParked(t, &b, start)
	now, last := start, time.Duration(0)
	for range 20 {
		pause := b.probe.Sub(now)
		if pause > lastProbe*12/10 || b.pause < last {
			t.Errorf("a pause of %v", pause)
		}
		now, last = b.probe, b.pause
		if b.failed(now, 0) {
			t.Error("parked once more")
		}
	}
	if last != lastProbe {
		t.Errorf("the last pause is %v, want %v", last, lastProbe)
	}
}

// Attempts that were under way when an endpoint was parked tell nothing new.
func TestStragglersDoNotPutOffTheProbe(t *testing.T) {
	var b breaker
	failUntilParked(t, &b, start)
	probe := b.probe
	for range 11 {
		b.failed(start.Add(time.Millisecond), 0)
	}
	if !b.probe.Equal(probe) {
		t.Errorf("the probe is put off to %v", b.probe.Sub(start))
	}
}

func TestRetryAfterPutsOffTheProbe(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{time.Hour: time.Hour, 1000 * time.Hour: maxRetryAfter} {
		var b breaker
		for range parkAfter {
			b.failed(start, asked)
		}
		if got := b.probe.Sub(start); got != want {
			t.Errorf("asked for %v: the probe comes after %v, want %v", asked, got, want)
		}
	}
}

func TestBreakerDisablesAfterDays(t *testing.T) {
	var b breaker
	failUntilParked(t, &b, start)
	for now := start; b.disabled == ""; now = b.probe {
		b.failed(now, 0)
		if now.Sub(start) > disableAfter+2*lastProbe {
			t.Fatal("still not disabled")
		}
		if b.disabled != "" && now.Sub(start) <= disableAfter {
			t.Errorf("disabled after %v", now.Sub(start))
		}
	}
}

func TestAllowanceIsEarned(t *testing.T) {
	var b breaker
	var got []int
	for range 6 {
		got = append(got, b.limit(16))
		b.succeeded()
	}
	for i, want := range []int{1, 1, 2, 4, 8, 16} {
		if got[i] != want {
			t.Fatalf("attempts at once: %v", got)
		}
	}
	b.failed(start, 0)
	if b.limit(16) != 16 || b.limit(1000) != 16 {
		t.Errorf("after a failure: %d of 16, %d of 1000", b.limit(16), b.limit(1000))
	}
	for range 100 {
		b.succeeded()
	}
	if b.limit(1000) != 1000 {
		t.Errorf("limit = %d", b.limit(1000))
	}
}
