package plugins

import "sync/atomic"

// idleWorkers is how many goroutines wait for the next job rather than end: their
// stacks have grown to what a job needs.
const idleWorkers = 256

// workers runs jobs at once, each on a goroutine of its own that is used again. How
// many run at the same time is for the caller to bound.
type workers[J any] struct {
	run  func(J)
	jobs chan J
	idle atomic.Int32
}

func newWorkers[J any](run func(J)) *workers[J] {
	return &workers[J]{run: run, jobs: make(chan J)}
}

func (w *workers[J]) do(job J) {
	select {
	case w.jobs <- job:
	default:
		go w.work(job)
	}
}

func (w *workers[J]) work(job J) {
	for {
		w.run(job)
		if w.idle.Add(1) > idleWorkers {
			w.idle.Add(-1)
			return
		}
		next, ok := <-w.jobs
		w.idle.Add(-1)
		if !ok {
			return
		}
		job = next
	}
}

// close ends the workers that wait. No job may be given afterwards.
func (w *workers[J]) close() { close(w.jobs) }
