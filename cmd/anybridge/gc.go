package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Go collects garbage when there is as much of it as of what is live. That is little in a
// bridge, and in its plugins: under load they would collect hundreds of times a second.
// So there may be leastGarbage before it is collected, in bytes, and up to mostPercent of
// what is live. A large heap is collected as usual.
const (
	leastGarbage  = 16 << 20
	usualPercent  = 100
	mostPercent   = 400
	percentSteps  = 25 // a change stops the program for a moment: not for less than this
	liveHeapBytes = "/gc/heap/live:bytes"
)

// collectSeldom tunes the garbage collector of this process, unless GOGC does.
func collectSeldom() {
	if os.Getenv("GOGC") != "" {
		return
	}
	live := []metrics.Sample{{Name: liveHeapBytes}}
	now := usualPercent
	afterEachCollection(func() {
		metrics.Read(live)
		if want := collectAt(live[0].Value.Uint64()); want != now {
			now = want
			debug.SetGCPercent(want)
		}
	})
}

// collectAt is the percentage for that many live bytes.
func collectAt(live uint64) int {
	percent := mostPercent
	if live > 0 {
		percent = int(min(leastGarbage*100/live, mostPercent))
	}
	return max(percent/percentSteps*percentSteps, usualPercent)
}

// afterEachCollection calls f after each collection, one call at a time.
func afterEachCollection(f func()) {
	var arm func()
	arm = func() {
		runtime.AddCleanup(new([64]byte), func(int) { f(); arm() }, 0) // which is garbage at once
	}
	arm()
}
