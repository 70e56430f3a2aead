package engine

import (
	"container/heap"
	"time"
)

// timer is something to do at a time. A canceled one does nothing.
type timer struct {
	at       time.Time
	do       func()
	canceled bool
}

// cancel also lets go of what it was to do.
func (t *timer) cancel() { t.canceled, t.do = true, nil }

// timers is a heap of them, the next one first.
type timers []*timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(*timer)) } //nolint:forcetypeassert // container/heap gives back what it got
func (t *timers) Pop() any {
	old := *t
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	return last
}

// add has do called at a time, by run.
func (t *timers) add(at time.Time, do func()) *timer {
	x := &timer{at: at, do: do}
	heap.Push(t, x)
	return x
}

// run does what is due and returns the pause until the next.
func (t *timers) run(now time.Time) time.Duration {
	for len(*t) > 0 {
		first := (*t)[0]
		if !first.canceled && first.at.After(now) {
			return first.at.Sub(now)
		}
		heap.Pop(t)
		if !first.canceled {
			first.do()
		}
	}
	return time.Hour
}
