package tests

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// outcome is what a client knows of a request, as Jepsen counts.
type outcome int

const (
	unknown      outcome = iota // anything may have happened
	acknowledged                // it was done
	refused                     // it was not done, and never will be
)

func outcomeOf(a answer, err error) outcome {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused // nobody was there to be asked; but see send
	case err != nil:
		return unknown
	case a.Status/100 == 2:
		return acknowledged
	case a.Status/100 == 4:
		return refused
	case a.Status == http.StatusServiceUnavailable && !strings.Contains(string(a.Body), "store"):
		return refused // while the store does not answer, it may have stored
	}
	return unknown
}

// tag names one publish or call: who made it, and which one of theirs. It travels as
// the arguments.
type tag struct {
	by     string
	number int
}

func (g tag) args() []any { return []any{g.by, g.number} }

func tagOf(args json.RawMessage) (g tag, err error) {
	return g, json.Unmarshal(args, &[]any{&g.by, &g.number})
}

// request is one publish or call, and what its client knows of it.
type request struct {
	tag
	outcome outcome
	sends   int       // more than one: with one Idempotency-Key
	began   time.Time // the first of them
	id      string    // from the answer, when it is acknowledged
}

// flaky answers 500 one time in five, at random but never more than three times in a
// row; once it fails so often in a row that the bridge takes it for down.
type flaky struct {
	random   *rand.Rand
	attempts int
	row      int // failures in a row
	outage   int // failures to come in a row; less than zero: the outage is over
}

// The outage begins with the first success after so many attempts, and is followed by
// so many successes.
const outageAfter, outage, health = 50, 5, 3

func (f *flaky) fails() bool {
	f.attempts++
	if f.attempts > outageAfter && f.row == 0 && f.outage == 0 {
		f.outage = outage
	}
	fails := false
	switch {
	case f.outage > 0:
		fails = true
		if f.outage--; f.outage == 0 {
			f.outage = -1
		}
	case f.outage < 0 && f.outage >= -health:
		f.outage--
	default:
		fails = f.row < 3 && f.random.IntN(5) == 0
	}
	f.row++
	if !fails {
		f.row = 0
	}
	return fails
}

func (f *flaky) answer() response {
	if f.fails() {
		return response{http.StatusInternalServerError, "", "one in five"}
	}
	return response{status: http.StatusNoContent}
}

// arrival is one callback, and how it was answered.
type arrival struct {
	at        time.Time
	place     int // among all arrivals at the endpoint
	id        string
	webhookID string
	done      bool // answered with 2xx
}

// subscriber is an HTTP endpoint with all that it was sent.
type subscriber struct {
	name    string
	token   string
	pattern string
	match   string
	ordered bool

	mu       sync.Mutex
	flaky    flaky
	since    time.Time // events that were published before need not come
	count    int
	arrivals map[tag][]arrival
	strange  []string // callbacks that are no events of the loop
}

func (s *subscriber) view(c callback) response {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := tagOf(c.Args)
	if err != nil || c.Type != "event" {
		s.strange = append(s.strange, string(c.Body))
		return response{status: http.StatusNoContent}
	}
	answer := s.flaky.answer()
	s.count++
	s.arrivals[g] = append(s.arrivals[g], arrival{time.Now(), s.count, c.ID, c.WebhookID, answer.status == http.StatusNoContent})
	return answer
}

func (s *subscriber) covers(topic string) bool {
	return s.pattern == topic || s.match == "prefix" && strings.HasPrefix(topic, s.pattern)
}

// first is the first arrival that was answered with 2xx, or nil.
func first(arrivals []arrival) *arrival {
	if i := slices.IndexFunc(arrivals, func(a arrival) bool { return a.done }); i >= 0 {
		return &arrivals[i]
	}
	return nil
}

// missing is what the subscriber is owed and does not have.
func (s *subscriber) missing(publishers []*publisher) (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range publishers {
		if p.wamp || !s.covers(p.topic) {
			continue
		}
		for _, r := range p.requests {
			if r.outcome == acknowledged && !r.began.Before(s.since) && first(s.arrivals[r.tag]) == nil {
				list = append(list, fmt.Sprintf("%s has not got %v (%s), acknowledged %s ago; arrivals: %v",
					s.name, r.tag, r.id, time.Since(r.began).Round(time.Millisecond), s.arrivals[r.tag]))
			}
		}
	}
	return list
}

// wrong is what the subscriber should not have been sent, or not like that.
func (s *subscriber) wrong(publishers []*publisher) (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list = slices.Clone(s.strange)
	owed := map[tag]*request{}
	for _, p := range publishers {
		if !s.covers(p.topic) {
			continue
		}
		for _, r := range p.requests {
			owed[r.tag] = r
		}
		if s.ordered {
			list = append(list, s.overtaken(p)...)
		}
	}
	for g, arrivals := range s.arrivals {
		r := owed[g]
		switch {
		case r == nil:
			list = append(list, fmt.Sprintf("%s has got %v, which was not published to its topic", s.name, g))
			continue
		case r.outcome == refused:
			list = append(list, fmt.Sprintf("%s has got %v, which was refused", s.name, g))
		}
		for _, a := range arrivals {
			if a.webhookID != arrivals[0].webhookID || r.id != "" && a.id != r.id {
				list = append(list, fmt.Sprintf("%s has got %v, acknowledged as %q, under several ids: %v", s.name, g, r.id, arrivals))
				break
			}
		}
	}
	return list
}

// overtaken is what of a publisher's events came before an earlier one was done. The
// endpoint is ordered.
func (s *subscriber) overtaken(p *publisher) (list []string) {
	var before tag
	done := 0 // the place at which that one was
	for _, r := range p.requests {
		arrivals := s.arrivals[r.tag]
		if len(arrivals) == 0 {
			continue
		}
		if arrivals[0].place < done {
			list = append(list, fmt.Sprintf("%s has got %v before it was done with %v: %v and %v", s.name, r.tag, before, arrivals, s.arrivals[before]))
		}
		if a := first(arrivals); a != nil {
			before, done = r.tag, a.place
		} else {
			list = append(list, fmt.Sprintf("%s has got %v and was not sent it again: %v", s.name, r.tag, arrivals))
		}
	}
	return list
}

// duplicates counts what the subscriber was sent after it had answered 2xx, by what
// it comes from: the bridge was killed before it had noted that the event was done, or
// that it had moved it to another place on the disk; or the event was published again
// with its key. unexplained are those that come from nothing.
func (s *subscriber) duplicates(publishers []*publisher, kills []kill) (byKill, byRepeat int, unexplained []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range publishers {
		for _, r := range p.requests {
			arrivals := s.arrivals[r.tag]
			done := first(arrivals)
			if done == nil {
				continue
			}
			for _, a := range arrivals[slices.Index(arrivals, *done)+1:] {
				switch {
				case r.sends > 1:
					byRepeat++
				case killedBetween(kills, r.began, a.at):
					byKill++
				default:
					unexplained = append(unexplained, fmt.Sprintf("%s has got %v again without a reason: %v", s.name, r.tag, arrivals))
				}
			}
		}
	}
	return byKill, byRepeat, unexplained
}

// killedBetween reports whether the bridge was killed between two moments.
func killedBetween(kills []kill, from, to time.Time) bool {
	return slices.ContainsFunc(kills, func(k kill) bool {
		return k.victim == theBridge && !k.gone.Before(from) && !k.at.After(to)
	})
}

// silence is the longest time in which nothing came, until the load ended.
func (s *subscriber) silence(ended time.Time) (longest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	moments := []time.Time{ended}
	if !s.since.IsZero() {
		moments = append(moments, s.since)
	}
	for _, arrivals := range s.arrivals {
		for _, a := range arrivals {
			moments = append(moments, a.at)
		}
	}
	slices.SortFunc(moments, time.Time.Compare)
	for n := 1; n < len(moments) && !moments[n].After(ended); n++ {
		longest = max(longest, moments[n].Sub(moments[n-1]))
	}
	return longest
}

// unpromised counts events that had not to come: those whose publishers do not know,
// that came, and those that only the router has acknowledged, that did not. The
// router's word is not the bridge's: what the bridge has not stored when the router
// dies is lost.
func (s *subscriber) unpromised(publishers []*publisher) (came, lost, published int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range publishers {
		if !s.covers(p.topic) {
			continue
		}
		for _, r := range p.requests {
			here := first(s.arrivals[r.tag]) != nil
			switch {
			case r.outcome == unknown && here:
				came++
			case r.outcome == acknowledged && p.wamp && !r.began.Before(s.since):
				published++
				if !here {
					lost++
				}
			}
		}
	}
	return came, lost, published
}
