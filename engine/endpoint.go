package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine/internal/record"
)

// defaultConcurrency is how many attempts at one endpoint may be under way at once
// when the subscription does not say.
const defaultConcurrency = 16

// endpoint is what one endpoint is owed, and how it is doing. It belongs to the
// goroutine of its lane.
type endpoint struct {
	id     string             // of the subscription; of a result's endpoint, "res_…"
	sub    *core.Subscription // nil for results
	target core.Endpoint      // of results: only with a delivery
	breaker

	waiting fifo        // in memory, in order
	due     fifo        // deliveries with a time of their own that has come
	running int         // attempts
	backlog *backlog    // nil: nothing waits on the disk
	later   int         // deliveries with a time of their own
	head    *laterEntry // ordered: what the others wait for

	limiter  *rate.Limiter
	hold     time.Time // no attempt before
	wake     *timer    // when to look again
	starving bool      // waits for its turn among the lane's attempts
	told     bool      // of its failing
	leaving  bool      // it wants no more: it is being unsubscribed
	gone     bool      // forgotten: what is under way is dropped when it ends
	dirty    bool      // its state has changed since it was written
	writing  bool      // its state is being written
	moves    int       // deliveries that are being written elsewhere
	health   Health
	oldest   time.Time // when the first delivery in the backlog became owed
}

// delivery is one event, or result, owed to one endpoint. It is kept in one of two
// places: a pack of a log (the lane's, or the endpoint's backlog), or on its own.
type delivery struct {
	to       *endpoint
	event    *core.Event  // one of these two; neither while it is only on the disk
	call     *record.Call //
	id       string       // "" until it is asked for
	owner    string
	created  time.Time
	attempts int
	tries    []record.Try

	log   *window
	pack  *pack
	index int
	entry *laterEntry

	moving  bool     // it is being written as a delivery of its own
	outcome *Outcome // what came of the attempt meanwhile
}

// deliveryID is what the endpoint sees as webhook-id.
func deliveryID(event, subscription string) string { return event + "_" + subscription }

// ID of the delivery.
func (d *delivery) ID() string {
	if d.id == "" {
		d.id = deliveryID(d.event.ID, d.to.id)
	}
	return d.id
}

// item is the delivery as it is written down.
func (d *delivery) item() *record.Item {
	owner := d.owner
	if d.to.sub != nil {
		owner = d.to.sub.Owner
	}
	return &record.Item{
		ID: d.ID(), Owner: owner, To: d.to.id, Created: d.created, Attempts: d.attempts, Tries: d.tries, Event: d.event, Call: d.call,
	}
}

// load fills in what was only on the disk.
func (d *delivery) load(i *record.Item) {
	d.id, d.owner, d.created, d.attempts, d.tries, d.event, d.call = i.ID, i.Owner, i.Created, i.Attempts, i.Tries, i.Event, i.Call
}

// endpointOf is where the delivery goes.
func (d *delivery) target() core.Endpoint {
	if d.call != nil {
		return d.call.Endpoint
	}
	return d.to.target
}

// resultEndpoint is the ID under which all results for one URL of one owner queue.
func resultEndpoint(owner, url string) string {
	sum := sha256.Sum256([]byte(owner + "\x00" + url))
	return "res_" + hex.EncodeToString(sum[:10])
}

func isResult(endpointID string) bool { return strings.HasPrefix(endpointID, "res_") }

// configure applies a subscription as it is now.
func (ep *endpoint) configure(s *core.Subscription) {
	ep.sub, ep.target = s, s.Endpoint
	r := s.Endpoint.Rate
	switch {
	case r <= 0:
		ep.limiter = nil
	case ep.limiter == nil || ep.limiter.Limit() != rate.Limit(r):
		ep.limiter = rate.NewLimiter(rate.Limit(r), max(1, int(r)))
	}
}

// concurrency is how many attempts may be under way at once.
func (ep *endpoint) concurrency() int {
	n := defaultConcurrency
	switch {
	case ep.target.Ordered:
		return 1
	case ep.target.Concurrency > 0:
		n = ep.target.Concurrency
	}
	return ep.breaker.limit(n)
}

// take is the next delivery to attempt, or nil.
func (ep *endpoint) take() *delivery {
	if ep.due.len() > 0 {
		return ep.due.shift()
	}
	if ep.head != nil || ep.waiting.len() == 0 {
		return nil
	}
	return ep.waiting.shift()
}

// idle reports whether nothing is owed to it as far as memory and disk know.
func (ep *endpoint) idle() bool {
	return ep.running == 0 && ep.waiting.len() == 0 && ep.due.len() == 0 && ep.backlog == nil && ep.later == 0
}

func (h *Health) note(now time.Time, out *Outcome) {
	h.LastAttempt, h.LastStatus, h.LastError = now, out.Status, ""
	if out.Err != nil {
		h.LastError = out.Err.Error()
	}
	if out.Done {
		h.Delivered++
	} else if !out.Gone && !out.Ours {
		h.Failed++
	}
}
