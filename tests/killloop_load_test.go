package tests

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// publisher publishes one event after the other, each when it knows what became of
// the one before.
type publisher struct {
	name  string
	topic string
	pace  time.Duration
	wamp  bool // through the router; otherwise over HTTP
	keyed bool // it sends with an Idempotency-Key, and again while it does not know

	requests []*request
	answers  map[string]int // what it was told how often
}

// run publishes until load ends.
func (p *publisher) run(load context.Context, b *bridge) {
	p.answers = map[string]int{}
	publish := p.overHTTP(b)
	if p.wamp {
		var leave func()
		publish, leave = p.overWAMP(b)
		defer leave()
	}
	tick := time.NewTicker(p.pace)
	defer tick.Stop()
	for load.Err() == nil {
		r := &request{tag: tag{p.name, len(p.requests)}, began: time.Now()}
		if publish(load, r) {
			p.requests = append(p.requests, r)
		}
		select {
		case <-tick.C:
		case <-load.Done():
		}
	}
}

// overHTTP publishes with POST /publish/.
func (p *publisher) overHTTP(b *bridge) func(context.Context, *request) bool {
	return func(ctx context.Context, r *request) bool {
		send(ctx, b.rest, r, p.keyed, p.answers, "/publish/"+p.topic+"/", object{"args": r.args()})
		return true
	}
}

// send makes a request over HTTP: once, or with a key as often as it takes to know
// what became of it.
func send(ctx context.Context, client rest, r *request, keyed bool, answers map[string]int, path string, body object) {
	// Not ctx itself: what is under way when the load ends is answered too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if keyed {
		client.key = fmt.Sprint(r.by, "-", r.number)
	}
	for doubt := false; ; {
		r.sends++
		a, err := client.send(ctx, http.MethodPost, path, body)
		r.outcome = outcomeOf(a, err)
		switch {
		case a.Status != 0:
			answers[http.StatusText(a.Status)]++
		case r.outcome == refused:
			answers["nobody there"]++
			// With a key net/http sends again by itself when it is cut off, and tells of
			// the last time only.
			doubt = doubt || keyed
		default:
			answers["cut off"]++
		}
		if r.outcome == acknowledged {
			var told reply
			_ = json.Unmarshal(a.Body, &told)
			r.id = text(told.ID)
			return
		}
		doubt = doubt || r.outcome == unknown
		if !keyed || !doubt {
			return
		}
		r.outcome = unknown
		select {
		case <-time.After(10 * time.Millisecond): // the pace of somebody who asks again
		case <-ctx.Done():
			return
		}
	}
}

// overWAMP publishes through the router, and waits for its acknowledgement. Without a
// router nothing is published.
func (p *publisher) overWAMP(b *bridge) (publish func(context.Context, *request) bool, leave func()) {
	var session *rawSession
	leave = func() {
		if session != nil {
			session.conn.Close()
			session = nil
		}
	}
	asked := 0
	return func(_ context.Context, r *request) bool {
		if session == nil {
			var err error
			if session, err = dialRaw(b.WS); err != nil {
				p.answers["nobody there"]++
				return false
			}
			asked = 0
		}
		asked++
		r.sends = 1
		answer, err := session.exchange(fmt.Sprintf(`[16,%d,{"acknowledge":true},%q,%s]`, asked, p.topic, raw(r.args())))
		switch {
		case err != nil:
			p.answers["cut off"]++
			leave()
		case strings.HasPrefix(answer, "[17,"):
			p.answers["PUBLISHED"]++
			r.outcome = acknowledged
		default:
			p.answers[answer]++
			leave()
		}
		return true
	}, leave
}

// shortRetry is a list of pauses that is not used up while the loop runs.
func shortRetry() []string {
	pauses := []string{"50ms", "50ms", "100ms"}
	for len(pauses) < 40 {
		pauses = append(pauses, "200ms")
	}
	return pauses
}
