package plugins

import (
	"sync"

	"github.com/anybridge/anybridge/core"
)

// sequences publish what is to be published in order: a goroutine for each sequence
// that has something to do takes all that has come for it, again and again. The gate
// bounds them. One goroutine calls add and start.
type sequences struct {
	server  *server
	backend core.Backend
	a       *answering[publishJob, publishReply]
	running *cancels

	mu      sync.Mutex
	waiting map[uint64][]publishJob // nil for one that is being published
	fresh   []uint64                // not started yet
}

func newSequences(s *server, backend core.Backend, a *answering[publishJob, publishReply], running *cancels) *sequences {
	return &sequences{server: s, backend: backend, a: a, running: running, waiting: map[uint64][]publishJob{}}
}

// add queues a job, whose gate has been entered.
func (q *sequences) add(sequence uint64, job publishJob) {
	q.mu.Lock()
	defer q.mu.Unlock()
	jobs, known := q.waiting[sequence]
	q.waiting[sequence] = append(jobs, job)
	if !known {
		q.fresh = append(q.fresh, sequence)
	}
}

// start has the sequences published that are new.
func (q *sequences) start() {
	q.mu.Lock()
	fresh := q.fresh
	q.fresh = nil
	q.mu.Unlock()
	for _, sequence := range fresh {
		go q.publish(sequence)
	}
}

func (q *sequences) publish(sequence uint64) {
	for {
		q.mu.Lock()
		jobs := q.waiting[sequence]
		if len(jobs) == 0 {
			delete(q.waiting, sequence)
			q.mu.Unlock()
			return
		}
		q.waiting[sequence] = nil
		q.mu.Unlock()
		q.publishAll(jobs)
	}
}

func (q *sequences) publishAll(jobs []publishJob) {
	given := make([]string, len(jobs))
	events := make([]*core.Event, len(jobs))
	for i, job := range jobs {
		given[i], events[i] = job.event.ID, job.event
	}
	errs := q.publishBatch(jobs, events)
	for i, job := range jobs {
		q.running.remove(job.id)()
		reply := newPublishReply(job, given[i], errs[i])
		q.a.reply(reply, reply.size())
		q.a.gate.leave()
		q.a.jobs.Done()
	}
}

func (q *sequences) publishBatch(jobs []publishJob, events []*core.Event) []error {
	errs := make([]error, len(events))
	batch, ok := q.backend.(core.BatchPublisher)
	if !ok || len(events) == 1 {
		for i, e := range events {
			errs[i] = q.server.publish(jobs[i].ctx, q.backend, e)
		}
		return errs
	}
	err := q.server.guard("publish", func() error {
		// One context is as good as the other: they were sent together.
		copy(errs, batch.PublishBatch(jobs[0].ctx, events))
		return nil
	})
	for i := range errs {
		if err != nil {
			errs[i] = err
		}
	}
	return errs
}
