package engine

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/anybridge/anybridge/core"
)

// defaultConcurrency is how many attempts at one endpoint may be under way at once
// when the subscription does not say.
const defaultConcurrency = 16

// delivery is one event owed to one endpoint, or one result.
type delivery struct {
	id           string
	size         int64
	attempts     int
	event        *core.Event
	subscription *core.Subscription
	result       *AsyncResult
	timer        *time.Timer // while it waits for a retry
}

// queue is what one endpoint is owed. The engine's mu guards it.
type queue struct {
	key         string
	temporary   bool // for the results of calls: forgotten when it is empty
	endpoint    core.Endpoint
	concurrency int
	limiter     *rate.Limiter

	waiting fifo
	retries map[*delivery]struct{}
	blocked bool // ordered: the head waits for its retry
	workers int  // goroutines
	running int  // of them, making an attempt
	health  Health
}

// Health is how an endpoint is doing.
type Health struct {
	Delivered   int64
	Failed      int64 // attempts
	Pending     int64
	LastStatus  int
	LastError   string
	LastAttempt time.Time
}

func (h *Health) note(out Outcome) {
	h.LastAttempt, h.LastStatus, h.LastError = time.Now(), out.Status, ""
	if out.Err != nil {
		h.LastError = out.Err.Error()
	}
}

func newQueue(key string, temporary bool) *queue {
	return &queue{key: key, temporary: temporary, retries: map[*delivery]struct{}{}}
}

// configure applies the endpoint's current options.
func (q *queue) configure(endpoint *core.Endpoint) {
	q.endpoint = *endpoint
	switch {
	case endpoint.Ordered:
		q.concurrency = 1
	case endpoint.Concurrency > 0:
		q.concurrency = endpoint.Concurrency
	default:
		q.concurrency = defaultConcurrency
	}
	switch {
	case endpoint.Rate <= 0:
		q.limiter = nil
	case q.limiter == nil || q.limiter.Limit() != rate.Limit(endpoint.Rate):
		q.limiter = rate.NewLimiter(rate.Limit(endpoint.Rate), max(1, int(endpoint.Rate)))
	}
}

// idle is how many workers are between two attempts and will take what waits.
func (q *queue) idle() int { return q.workers - q.running }

// take returns the next delivery to attempt, or nil.
func (q *queue) take() *delivery {
	if q.blocked || q.waiting.len() == 0 {
		return nil
	}
	q.running++
	return q.waiting.shift()
}

// retry parks d until the pause is over. An ordered queue waits behind it.
func (q *queue) retry(d *delivery, pause time.Duration, wake func()) {
	q.blocked = q.blocked || q.endpoint.Ordered
	q.retries[d] = struct{}{}
	d.timer = time.AfterFunc(pause, wake)
}

// wake puts a parked delivery back at the head.
func (q *queue) wake(d *delivery) {
	if _, parked := q.retries[d]; !parked {
		return
	}
	delete(q.retries, d)
	q.blocked = false
	q.waiting.unshift(d)
}

func (q *queue) settled(d *delivery) { delete(q.retries, d) }

func (q *queue) pending() int { return q.waiting.len() + len(q.retries) + q.running }

func (q *queue) empty() bool { return q.pending() == 0 }

// clear takes everything out that is not being attempted right now.
func (q *queue) clear() []*delivery {
	q.stopTimers()
	var all []*delivery
	for d := range q.retries {
		all = append(all, d)
	}
	clear(q.retries)
	for q.waiting.len() > 0 {
		all = append(all, q.waiting.shift())
	}
	q.blocked = false
	return all
}

func (q *queue) stopTimers() {
	for d := range q.retries {
		d.timer.Stop()
	}
}

// fifo is a queue that gives its memory back as it shrinks.
type fifo struct {
	head, tail []*delivery // head is taken from its end
}

func (f *fifo) len() int { return len(f.head) + len(f.tail) }

func (f *fifo) push(d *delivery) { f.tail = append(f.tail, d) }

func (f *fifo) unshift(d *delivery) { f.head = append(f.head, d) }

func (f *fifo) shift() *delivery {
	if len(f.head) == 0 {
		f.head = f.tail
		f.tail = nil
		for i, j := 0, len(f.head)-1; i < j; i, j = i+1, j-1 {
			f.head[i], f.head[j] = f.head[j], f.head[i]
		}
	}
	last := len(f.head) - 1
	d := f.head[last]
	f.head[last] = nil
	f.head = f.head[:last]
	return d
}
