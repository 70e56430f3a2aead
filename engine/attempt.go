package engine

import (
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine/internal/record"
)

// maxInMemory bounds the deliveries of one endpoint that wait in memory; more wait
// in its backlog.
const maxInMemory = 1024

// enqueue has a delivery that was read from the lane wait for its turn: in memory
// or, when the endpoint is behind, in its backlog.
func (s *shift) enqueue(d *delivery) {
	ep := d.to
	if s.moved(d) {
		s.win.settle(d.pack, d.index)
		return
	}
	if ep.backlog != nil || ep.parked {
		s.spill(ep, d)
		s.start(ep)
		return
	}
	ep.waiting.push(d)
	s.start(ep)
	if ep.waiting.len() > maxInMemory {
		s.spillWaiting(ep)
	}
}

// moved reports whether a delivery that was read has got a place of its own: that
// was before a restart, and the cursor is older.
func (s *shift) moved(d *delivery) bool {
	return d.to.later > 0 && s.laters[s.laterSubject(d.to.id, d.ID())] != nil
}

// start makes as many attempts at the endpoint as it may have now.
func (s *shift) start(ep *endpoint) {
	for !s.resuming && !s.stopping && !ep.gone && !ep.leaving && ep.disabled == "" && ep.running < ep.concurrency() {
		now := time.Now()
		if ep.parked && now.Before(ep.probe) {
			s.wakeAt(ep, ep.probe)
			return
		}
		if now.Before(ep.hold) {
			s.wakeAt(ep, ep.hold)
			return
		}
		if s.running >= s.maxSending() {
			if !ep.starving {
				ep.starving = true
				s.starving = append(s.starving, ep)
			}
			return
		}
		if ep.due.len() == 0 && (ep.head != nil || ep.waiting.len() == 0) {
			break
		}
		if ep.limiter != nil {
			if r := ep.limiter.ReserveN(now, 1); r.DelayFrom(now) > 0 {
				s.wakeAt(ep, now.Add(r.DelayFrom(now)))
				r.CancelAt(now)
				return
			}
		}
		s.send(ep.take())
	}
	s.feed(ep)
	if ep.parked && ep.idle() {
		ep.parked = false // nothing to probe with: the next delivery decides
		s.touch(ep)
	}
}

func (s *shift) maxSending() int { return max(16, s.e.o.MaxSending/len(s.e.lanes)) }

// wakeAt has the endpoint looked at again.
func (s *shift) wakeAt(ep *endpoint, at time.Time) {
	if ep.wake != nil && !ep.wake.canceled {
		if !at.Before(ep.wake.at) {
			return
		}
		ep.wake.cancel()
	}
	var t *timer
	t = s.timers.add(at, func() {
		if ep.wake == t {
			ep.wake = nil
		}
		s.start(ep)
	})
	ep.wake = t
}

// send makes one attempt, beside the lane.
func (s *shift) send(d *delivery) {
	d.to.running++
	s.running++
	s.sending[d] = struct{}{}
	if d.event != nil || d.call != nil {
		_ = d.ID() // while d is the lane's
	}
	target, sub := d.target(), d.to.sub // they may be replaced during the attempt
	job := func() { s.attempt(d, target, sub) }
	select {
	case s.jobs <- job:
	default:
		s.spawn(func() { s.worker(job) })
	}
}

// workerIdle is how long a worker waits for another job.
const workerIdle = time.Second

// worker does one job, and others while there are any.
func (s *shift) worker(job func()) {
	idle := time.NewTimer(workerIdle)
	defer idle.Stop()
	for {
		job()
		idle.Reset(workerIdle)
		select {
		case job = <-s.jobs:
		case <-idle.C:
			return
		case <-s.ctx.Done():
			return
		}
	}
}

// attempt sends one delivery and reports what came of it.
func (s *shift) attempt(d *delivery, target core.Endpoint, sub *core.Subscription) {
	if d.event == nil && d.call == nil {
		item, err := s.loadLater(d.entry)
		if err != nil {
			s.post(func() { s.lost(d, err) })
			return
		}
		d.load(item)
		if d.call != nil {
			target = d.call.Endpoint
		}
	}
	s.e.counters.attempts.Add(1)
	a := &Attempt{ID: d.ID(), Number: d.attempts + 1, Endpoint: &target, Event: d.event, Subscription: sub}
	if d.call != nil {
		a.Result = &AsyncResult{CallID: d.id, Procedure: d.call.Procedure, Err: d.call.Err}
		if d.call.Err == nil {
			a.Result.Result = &core.Result{Payload: d.call.Result, Details: d.call.Details}
		}
	}
	out := s.e.o.Sender.Send(s.sends, a)
	s.post(func() { s.finish(d, &out) })
}

// finish decides what becomes of a delivery after an attempt.
func (s *shift) finish(d *delivery, out *Outcome) {
	if d.moving {
		d.outcome = out // until it is known where the delivery is kept
		return
	}
	ep := d.to
	ep.running--
	s.running--
	delete(s.sending, d)
	defer s.attemptEnded(ep)
	if s.stopping && out.Ours {
		return // it stays owed
	}
	now := time.Now()
	ep.health.note(now, out)
	switch {
	case ep.gone:
		if d.log == &s.win {
			s.win.settle(d.pack, d.index)
		}
	case out.Done:
		s.e.counters.delivered.Add(1)
		if ep.breaker.succeeded() {
			s.touch(ep)
		}
		if ep.told {
			ep.told = false
			s.trouble(ep, d, Recovered, "")
		}
		s.settle(d)
	case out.Gone:
		s.e.counters.gone.Add(1)
		s.settle(d)
		s.endpointGone(ep)
	case out.Ours:
		s.e.counters.ours.Add(1)
		s.postpone(d, now.Add(jitter(time.Second)))
	default:
		s.failed(d, out, now)
	}
}

// postpone puts a delivery back whose attempt does not count.
func (s *shift) postpone(d *delivery, until time.Time) {
	d.to.hold = until
	if d.entry != nil {
		d.to.due.unshift(d)
	} else {
		d.to.waiting.unshift(d)
	}
}

// failed notes a failed attempt: there will be another, or the delivery is dead.
func (s *shift) failed(d *delivery, out *Outcome, now time.Time) {
	ep := d.to
	s.e.counters.failed.Add(1)
	reason := ""
	if out.Err != nil {
		reason = out.Err.Error()
	}
	item := d.item()
	item.Tried(record.Try{At: now.Add(-out.Latency), Status: out.Status, Latency: out.Latency, Error: reason, Answer: out.Answer})
	d.attempts, d.tries = item.Attempts, item.Tries
	schedule := d.target().Retry
	if schedule == nil {
		schedule = DefaultRetry()
	}
	if len(schedule) > 0 { // without retries there is nothing to wait for
		if ep.breaker.failed(now, out.RetryAfter) {
			s.park(ep, d, reason)
		}
		if ep.parked {
			s.touch(ep)
		}
		if ep.disabled != "" {
			s.trouble(ep, d, Disabled, ep.disabled)
		}
	}
	if until := now.Add(min(out.RetryAfter, maxRetryAfter)); until.After(ep.hold) {
		ep.hold = until // it wants to be left alone, not only with this delivery
	}
	pause, again := nextAttempt(schedule, d.attempts, out.RetryAfter)
	attrs := []any{
		slog.String("id", d.ID()), slog.Int("attempt", d.attempts), slog.Int("status", out.Status), slog.String("error", reason),
	}
	if !again {
		s.log.Error("delivery failed for good", attrs...)
		s.bury(d, "the attempts are used up: "+reason)
		return
	}
	s.log.Debug("attempt failed", append(attrs, slog.Duration("next", pause))...)
	s.e.counters.retries.Add(1)
	s.moveLater(d, now.Add(pause))
}

// park takes an endpoint out of the way: what it is owed goes to the disk.
func (s *shift) park(ep *endpoint, d *delivery, reason string) {
	s.log.Warn("endpoint parked", slog.String("endpoint", ep.id), slog.Int("failures", ep.failures), slog.String("error", reason))
	if !ep.told {
		ep.told = true
		s.trouble(ep, d, Failing, reason)
	}
	s.spillWaiting(ep)
}

// attemptEnded has the next ones made: first by the endpoints that wait for their
// turn, so that the busy ones do not keep all turns to themselves.
func (s *shift) attemptEnded(ep *endpoint) {
	s.tellCalm()
	s.startStarving()
	s.start(ep)
}

// startStarving gives the endpoints that wait for an attempt their turn.
func (s *shift) startStarving() {
	for len(s.starving) > 0 && s.running < s.maxSending() {
		ep := s.starving[0]
		s.starving[0] = nil
		s.starving = s.starving[1:]
		ep.starving = false
		s.start(ep)
	}
}

// settle takes a delivery off the books.
func (s *shift) settle(d *delivery) {
	if d.entry != nil {
		s.removeLater(d.entry)
		return
	}
	d.log.settle(d.pack, d.index)
	if d.log != &s.win {
		s.touch(d.to)
	}
}

// endpointGone has an endpoint unsubscribed that answered 410.
func (s *shift) endpointGone(ep *endpoint) {
	if ep.sub == nil {
		return
	}
	s.log.Info("endpoint gone", slog.String("endpoint", ep.id))
	if ep.leaving {
		return
	}
	ep.leaving = true // nothing more is sent, unless it cannot be unsubscribed
	sub := ep.sub
	s.spawn(func() {
		s.e.o.Gone(s.ctx, sub)
		s.post(func() {
			ep.leaving = false
			s.start(ep)
		})
	})
}

// trouble tells of trouble with an endpoint, unless it is trouble with telling.
func (s *shift) trouble(ep *endpoint, d *delivery, kind TroubleKind, reason string) {
	t := Trouble{Kind: kind, Owner: d.owner, URL: plainURL(d.target().URL), Reason: reason, At: time.Now()}
	if ep.sub != nil {
		t.Owner, t.Subscription, t.Pattern = ep.sub.Owner, ep.id, ep.sub.Pattern
	}
	if kind == DeadLetter {
		t.Delivery = d.ID()
	}
	if d.event != nil && strings.HasPrefix(d.event.Topic.Name, TroubleTopic) {
		return
	}
	s.e.tell(t)
}

// plainURL is a URL without its query, where apps keep secrets.
func plainURL(url string) string {
	plain, _, _ := strings.Cut(url, "?")
	return plain
}

// lost ends an attempt whose delivery could not be read from the disk.
func (s *shift) lost(d *delivery, err error) {
	removed, malformed := errors.Is(err, errRemoved), errors.Is(err, record.ErrMalformed)
	if malformed {
		s.log.Error("later: malformed message removed", slog.String("subject", d.entry.subject), slog.Any("error", err))
	}
	if removed || malformed {
		d.to.running--
		s.running--
		delete(s.sending, d)
		if malformed {
			s.removeLater(d.entry)
		} else {
			s.dropLater(d.entry)
		}
		s.attemptEnded(d.to)
		return
	}
	s.finish(d, &Outcome{Ours: true, Err: err})
}
