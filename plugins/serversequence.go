package plugins

import "sync"

// sequences publish what is to be published in order: a goroutine for each sequence
// that has something to do takes what has come for it, job after job. The gate of
// the publishing bounds them.
type sequences struct {
	publish func(publishJob)

	mu      sync.Mutex
	waiting map[uint64][]publishJob // nil for one whose last job is being published
}

func newSequences(publish func(publishJob)) *sequences {
	return &sequences{publish: publish, waiting: map[uint64][]publishJob{}}
}

// add has a job published after those that were added to its sequence before.
func (q *sequences) add(sequence uint64, job publishJob) {
	q.mu.Lock()
	jobs, busy := q.waiting[sequence]
	if busy {
		q.waiting[sequence] = append(jobs, job)
	} else {
		q.waiting[sequence] = nil
	}
	q.mu.Unlock()
	if !busy {
		go q.work(sequence, job)
	}
}

func (q *sequences) work(sequence uint64, job publishJob) {
	for {
		q.publish(job)
		q.mu.Lock()
		jobs := q.waiting[sequence]
		if len(jobs) == 0 {
			delete(q.waiting, sequence)
			q.mu.Unlock()
			return
		}
		job, q.waiting[sequence] = jobs[0], jobs[1:]
		q.mu.Unlock()
	}
}
