package plugins

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	const least, most = 100 * time.Millisecond, 5 * time.Second
	for failures, ms := range []int{100, 200, 400, 800, 1600, 3200, 5000, 5000} {
		want := time.Duration(ms) * time.Millisecond
		for range 100 {
			if got := backoff(least, most, failures); got > want || got < want/2 {
				t.Fatalf("after %d failures: %s, want %s to %s", failures, got, want/2, want)
			}
		}
	}
	if got := backoff(least, most, 1<<40); got > most {
		t.Errorf("got %s", got)
	}
}
