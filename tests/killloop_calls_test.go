package tests

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// caller makes asynchronous calls, one after the other.
type caller struct {
	name      string
	procedure string
	pace      time.Duration
	keyed     bool
	url       string // where outcomes go

	requests []*request
	answers  map[string]int
}

// run calls until load ends.
func (c *caller) run(load context.Context, b *bridge) {
	c.answers = map[string]int{}
	tick := time.NewTicker(c.pace)
	defer tick.Stop()
	for load.Err() == nil {
		r := &request{tag: tag{c.name, len(c.requests)}, began: time.Now()}
		c.requests = append(c.requests, r)
		send(load, b.rest, r, c.keyed, c.answers, "/call/"+c.procedure+"/",
			object{"args": r.args(), "timeout": "5s", "callback": object{"url": c.url, "retry": shortRetry()}})
		select {
		case <-tick.C:
		case <-load.Done():
		}
	}
}

// serveCallee is a WAMP component with one procedure, which joins again and again until
// ctx ends.
func serveCallee(ctx context.Context, b *bridge, procedure string, run func(args json.RawMessage)) {
	for ctx.Err() == nil {
		if session, err := dialRaw(b.WS); err == nil {
			stop := context.AfterFunc(ctx, func() { session.conn.Close() })
			session.serve(procedure, run)
			stop()
			session.conn.Close()
		}
		select {
		case <-time.After(10 * time.Millisecond): // the pace of somebody who tries again
		case <-ctx.Done():
		}
	}
}

// serve registers a procedure, and returns to every call what it was given, until the
// connection ends.
func (s *rawSession) serve(procedure string, run func(args json.RawMessage)) {
	if answer, err := s.exchange(fmt.Sprintf(`[64,1,{},%q]`, procedure)); err != nil || !strings.HasPrefix(answer, "[65,") {
		return // the router may not have noticed yet that a former session is gone
	}
	for {
		message, err := s.next()
		if err != nil {
			return
		}
		var kind, request, registration int64
		var args json.RawMessage
		if json.Unmarshal(message, &[]any{&kind, &request, &registration, &object{}, &args}) != nil || kind != 68 {
			continue
		}
		run(args)
		if s.send(fmt.Sprintf(`[70,%d,{},%s]`, request, args)) != nil {
			return
		}
	}
}

// calls is what became of asynchronous calls.
type calls struct {
	mu       sync.Mutex
	flaky    flaky
	runs     map[tag]int
	outcomes map[string][]string // by id, as text, without repetitions
	repeated int                 // callbacks that came again after a 2xx
	answered map[string]bool     // by id and text
}

// run executes the procedure of a call: it returns what it was given.
func (c *calls) run(args json.RawMessage) {
	g, err := tagOf(args)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		g = tag{by: "not a call of the loop: " + string(args)}
	}
	c.runs[g]++
}

// outcomeUnknown is how an outcome begins that says so.
const outcomeUnknown = "unknown"

// view takes the outcome of a call.
func (c *calls) view(cb callback) response {
	text := fmt.Sprint(cb.Type, " ", cb.Status, cb.Error, " ", string(cb.Args))
	if cb.Type == "error" && strings.Contains(string(cb.Body), "is unknown") {
		text = outcomeUnknown
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.outcomes[cb.ID], text) {
		c.outcomes[cb.ID] = append(c.outcomes[cb.ID], text)
	}
	answer := c.flaky.answer()
	if c.answered[cb.ID+text] {
		c.repeated++
	}
	if answer.status == http.StatusNoContent {
		c.answered[cb.ID+text] = true
	}
	return answer
}

// missing is which acknowledged calls have no outcome.
func (c *calls) missing(callers []*caller) (list []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range callers {
		for _, r := range one.requests {
			if r.outcome == acknowledged && len(c.outcomes[r.id]) == 0 {
				list = append(list, fmt.Sprintf("call %v (%s), accepted %s ago, has no outcome", r.tag, r.id, time.Since(r.began).Round(time.Millisecond)))
			}
		}
	}
	return list
}

// wrong is what is not as promised, and kinds counts the outcomes.
func (c *calls) wrong(callers []*caller) (list []string, kinds map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kinds = map[string]int{}
	owner := map[string]*request{}
	maybe := 0
	for _, one := range callers {
		for _, r := range one.requests {
			switch {
			case r.id != "":
				owner[r.id] = r
			case r.outcome == unknown:
				maybe++
			}
			runs := c.runs[r.tag]
			if runs > 1 || runs > 0 && r.outcome == refused {
				list = append(list, fmt.Sprintf("call %v (%s) was executed %d times", r.tag, r.id, runs))
			}
		}
	}
	orphans := 0
	for id, outcomes := range c.outcomes {
		for _, o := range outcomes {
			kind, _, _ := strings.Cut(o, " [")
			kinds[kind]++
		}
		r := owner[id]
		if r == nil {
			orphans++
			continue
		}
		others := slices.DeleteFunc(slices.Clone(outcomes), func(o string) bool { return o == outcomeUnknown })
		if len(others) > 1 || len(outcomes) > 1 && r.sends == 1 {
			list = append(list, fmt.Sprintf("call %v (%s) has several outcomes: %q", r.tag, id, outcomes))
		}
		for _, o := range others {
			if strings.HasPrefix(o, "result") && !strings.HasSuffix(o, string(raw(r.args()))) {
				list = append(list, fmt.Sprintf("call %v (%s) has another's result: %q", r.tag, id, o))
			}
		}
	}
	if orphans > maybe {
		list = append(list, fmt.Sprintf("%d outcomes of calls that nobody made", orphans-maybe))
	}
	return list, kinds
}
