package roles

import (
	"sync"
	"time"

	"github.com/anybridge/anybridge/bench/internal/stats"
)

// worker is one connection of a closed loop: do sends one request, waits for its
// answer and checks it.
type worker interface {
	do() error
	Close()
}

// tally is what one worker has seen.
type tally struct {
	ops, errors int64
	first       error
	latency     stats.Histogram
}

// loop is a closed loop of as many workers as there are connections. They
// connect anew for every run, before its time starts: between two runs a server
// may well tire of connections on which nothing comes.
type loop struct {
	conns   int
	connect func(i int) (worker, error)
}

func (l loop) run(c Command) Report {
	var workers []worker
	defer func() { closeAll(workers) }()
	for i := range l.conns {
		w, err := l.connect(i)
		if err != nil {
			return Report{Errors: 1, FirstError: err.Error()}
		}
		workers = append(workers, w)
	}
	return runLoop(workers, c.For)
}

func (l loop) role() *role { return &role{do: l.run, close: func() {}} }

// runLoop keeps every worker busy for d and adds up what they saw. A worker that
// fails stops: its connection is in an unknown state. Who still waits ten seconds
// after the end will wait for ever: its connection is closed, which is an error.
func runLoop(workers []worker, d time.Duration) Report {
	tallies := make([]tally, len(workers))
	var wg sync.WaitGroup
	start := time.Now()
	end := start.Add(d)
	for i, w := range workers {
		wg.Go(func() {
			t := &tallies[i]
			for now := time.Now(); now.Before(end); {
				err := w.do()
				after := time.Now()
				if err != nil {
					t.errors++
					t.first = err
					return
				}
				t.ops++
				t.latency.Record(after.Sub(now))
				now = after
			}
		})
	}
	stuck := time.AfterFunc(d+10*time.Second, func() { closeAll(workers) })
	defer stuck.Stop()
	wg.Wait()
	return report(tallies, time.Since(start))
}

func report(tallies []tally, elapsed time.Duration) Report {
	var all stats.Histogram
	r := Report{Elapsed: elapsed}
	for i := range tallies {
		t := &tallies[i]
		r.Ops += t.ops
		r.Errors += t.errors
		if r.FirstError == "" && t.first != nil {
			r.FirstError = t.first.Error()
		}
		all.Merge(&t.latency)
	}
	r.P50, r.P99 = all.Quantile(0.5), all.Quantile(0.99)
	return r
}

func closeAll(workers []worker) {
	for _, w := range workers {
		w.Close()
	}
}
