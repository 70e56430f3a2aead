package main

import (
	"runtime"
	"testing"
	"time"
)

func TestCollectAt(t *testing.T) {
	for live, want := range map[uint64]int{
		0: 400, 1: 400, 1 << 20: 400, 4 << 20: 400, 6 << 20: 250, 8 << 20: 200, 10 << 20: 150, 16 << 20: 100, 1 << 40: 100,
	} {
		if got := collectAt(live); got != want {
			t.Errorf("%d live: %d %%, want %d", live, got, want)
		}
	}
}

func TestAfterEachCollection(t *testing.T) {
	done := make(chan bool, 100)
	afterEachCollection(func() {
		select {
		case done <- true:
		default:
		}
	})
	end := time.Now().Add(10 * time.Second)
	for called := 0; called < 3; {
		runtime.GC() // again, if the next call was not arranged for yet
		select {
		case <-done:
			called++
		case <-time.After(10 * time.Millisecond):
			if time.Now().After(end) {
				t.Fatalf("called %d times", called)
			}
		}
	}
}
