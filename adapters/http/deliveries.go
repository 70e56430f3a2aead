package rest

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// Kinds of deliveries.
const (
	deliveredEvent  = "event"
	deliveredResult = "result" // of an asynchronous call
)

// DeliveryView is one delivery as GET /deliveries/ lists it.
type DeliveryView struct {
	ID           string       `json:"id"`
	State        engine.State `json:"state"`
	Kind         string       `json:"kind"`                   // "event" or "result"
	Topic        string       `json:"topic,omitempty"`        // of an event
	Procedure    string       `json:"procedure,omitempty"`    // of a result
	Subscription string       `json:"subscription,omitempty"` // the ID of an event's
	Owner        string       `json:"owner,omitempty"`        // only with ?all=1
	Created      time.Time    `json:"created"`
	Next         time.Time    `json:"next,omitzero"` // when the next attempt is due
	Attempts     int          `json:"attempts"`
	Tries        []TryView    `json:"tries"` // the first one and the last ones
	Reason       string       `json:"reason,omitempty"`
	FailedAt     time.Time    `json:"failed_at,omitzero"`

	// Args and Kwargs are what was to be delivered, of one delivery that was asked
	// for by its ID.
	Args   json.RawMessage `json:"args,omitempty"`
	Kwargs json.RawMessage `json:"kwargs,omitempty"`
}

// TryView is one failed attempt.
type TryView struct {
	At      time.Time `json:"at"`
	Status  int       `json:"status,omitempty"` // of HTTP; absent: no answer
	Latency float64   `json:"latency"`          // seconds
	Error   string    `json:"error"`
	Answer  string    `json:"answer,omitempty"` // the first bytes of the response's body
}

// DeliveriesView is the answer of GET /deliveries/.
type DeliveriesView struct {
	Deliveries []DeliveryView `json:"deliveries"`
	Next       string         `json:"next,omitempty"` // ?after= of the next list; absent: there is none
}

// Bounds of ?limit=.
const (
	usualDeliveries = 100
	maxDeliveries   = 1000
)

// listDeliveries serves GET /deliveries/.
func (f *Frontend) listDeliveries(x *exchange) error {
	owner, err := x.listOwner()
	if err != nil {
		return err
	}
	query, err := x.query("state", "subscription", "topic", "limit", "after", "all")
	if err != nil {
		return err
	}
	filter := engine.Filter{Owner: owner, State: engine.Failed, Limit: usualDeliveries, After: query.Get("after")}
	if state := query.Get("state"); state != "" {
		filter.State = engine.State(state)
	}
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxDeliveries {
			return core.Errorf(core.InvalidArgument, "limit: want 1 to %d", maxDeliveries)
		}
		filter.Limit = n
	}
	if err := f.narrow(&filter, query.Get("subscription"), query.Get("topic")); err != nil {
		return err
	}
	ctx, cancel := f.requestContext(x)
	defer cancel()
	list, next, err := f.o.Work.Deliveries(ctx, filter)
	if err != nil {
		return callError(ctx, err, f.limits.Timeout)
	}
	answer := DeliveriesView{Deliveries: make([]DeliveryView, len(list)), Next: next}
	for i := range list {
		answer.Deliveries[i] = f.deliveryView(&list[i], owner == "")
	}
	return x.replyJSON(answer)
}

// showDelivery serves GET /deliveries/ID/.
func (f *Frontend) showDelivery(x *exchange) error {
	owner, err := x.listOwner()
	if err != nil {
		return err
	}
	if _, err := x.query("all"); err != nil {
		return err
	}
	ctx, cancel := f.requestContext(x)
	defer cancel()
	d, err := f.o.Work.Delivery(ctx, owner, x.name)
	if err != nil {
		return callError(ctx, err, f.limits.Timeout)
	}
	view := f.deliveryView(d, owner == "")
	view.Args, view.Kwargs = d.Payload.Args, d.Payload.Kwargs
	if view.Args == nil {
		view.Args = json.RawMessage("[]")
	}
	if view.Kwargs == nil {
		view.Kwargs = json.RawMessage("{}")
	}
	return x.replyJSON(view)
}

// replay serves POST /deliveries/ID/replay/.
func (f *Frontend) replay(x *exchange) error {
	token, err := readBody(x, decodeToken)
	if err != nil {
		return err
	}
	owner, err := x.actingFor(token)
	if err != nil {
		return err
	}
	ctx, cancel := f.requestContext(x)
	defer cancel()
	if err := f.o.Work.Replay(ctx, owner, x.name); err != nil {
		return callError(ctx, err, f.limits.Timeout)
	}
	x.auditOne("replay", nil)
	return x.replyJSON(map[string]any{"replayed": []string{x.name}})
}

// replayAll serves POST /deliveries/replay/: all dead letters that the body means.
func (f *Frontend) replayAll(x *exchange) error {
	req, err := readBody(x, decodeReplay)
	if err != nil {
		return err
	}
	owner, err := x.actingFor(req.token)
	if err != nil {
		return err
	}
	filter := engine.Filter{Owner: owner, State: engine.Failed}
	if err := f.narrow(&filter, req.subscription, req.topic); err != nil {
		return err
	}
	ctx, cancel := f.requestContext(x)
	defer cancel()
	n, err := f.o.Work.ReplayAll(ctx, filter)
	if n > 0 {
		x.auditMany("replay", int64(n))
	}
	if err != nil {
		e := *core.AsError(callError(ctx, err, f.limits.Timeout))
		if n > 0 {
			e.Message = strconv.Itoa(n) + " were replayed, then: " + e.Message
		}
		return &e
	}
	return x.replyJSON(map[string]any{"replayed": n})
}

// discard serves DELETE /deliveries/ID/.
func (f *Frontend) discard(x *exchange) error {
	owner, err := x.listOwner()
	if err != nil {
		return err
	}
	if _, err := x.query("all"); err != nil {
		return err
	}
	ctx, cancel := f.requestContext(x)
	defer cancel()
	if err := f.o.Work.Discard(ctx, owner, x.name); err != nil {
		return callError(ctx, err, f.limits.Timeout)
	}
	x.auditOne("discard", nil)
	return x.replyJSON(map[string]any{"discarded": []string{x.name}})
}

// readBody authenticates by the header, reads the body and decodes it.
func readBody[T any](x *exchange, decode func(body []byte, maxDepth int) (T, error)) (T, error) {
	var none T
	if err := x.bearer(); err != nil {
		return none, err
	}
	body, err := x.body()
	if err != nil {
		return none, err
	}
	v, err := decode(body, x.f.limits.MaxDepth)
	if err != nil {
		return none, x.hint(err)
	}
	return v, nil
}

// actingFor is whose deliveries a request with a body is about, as listOwner is for
// one without.
func (x *exchange) actingFor(token string) (string, error) {
	if err := x.identify(token); err != nil {
		return "", err
	}
	if _, err := x.query("all"); err != nil {
		return "", err
	}
	return x.whose()
}

// narrow adds to the filter which deliveries are meant.
func (f *Frontend) narrow(filter *engine.Filter, subscription, topic string) error {
	if subscription != "" && !isSubscriptionID(subscription) {
		return core.Errorf(core.InvalidArgument, "subscription: %s is not an id such as GET /subscribe/ tells", quote(subscription))
	}
	filter.Subscription = subscription
	if topic == "" {
		return nil
	}
	address, err := core.ParseAddress(topic, f.o.Bridge.DefaultBackend())
	if err != nil {
		return core.Errorf(core.InvalidArgument, "topic: %w", err)
	}
	filter.Topic = address
	return nil
}

func isSubscriptionID(id string) bool {
	hex, ok := strings.CutPrefix(id, "sub_")
	return ok && hex != "" && strings.Trim(hex, "0123456789abcdef") == ""
}

// query is the URL's query, which may have these parameters, once each.
func (x *exchange) query(known ...string) (url.Values, error) {
	values, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return nil, core.Errorf(core.InvalidArgument, "the query of the URL is malformed")
	}
	for name, list := range values {
		if len(list) > 1 {
			return nil, core.Errorf(core.InvalidArgument, "the parameter %s comes twice", quote(name))
		}
		if slices.Contains(known, name) {
			continue
		}
		hint := "known are " + strings.Join(known, ", ")
		if near := core.Nearest(name, known); near != "" {
			hint = "did you mean " + near + "?"
		}
		return nil, core.Errorf(core.InvalidArgument, "unknown parameter %s: %s", quote(name), hint)
	}
	return values, nil
}

func (f *Frontend) deliveryView(d *engine.Delivery, withOwner bool) DeliveryView {
	v := DeliveryView{
		ID: d.ID, State: d.State, Kind: deliveredEvent, Topic: f.text(d.Address), Subscription: d.Subscription, Created: d.Created.UTC(),
		Next: d.Next.UTC(), Attempts: d.Attempts, Tries: make([]TryView, len(d.Tries)), Reason: d.Reason, FailedAt: d.Died.UTC(),
	}
	if d.Subscription == "" {
		v.Kind, v.Topic, v.Procedure = deliveredResult, "", v.Topic
	}
	if withOwner {
		v.Owner = d.Owner
	}
	for i, t := range d.Tries {
		v.Tries[i] = TryView{At: t.At.UTC(), Status: t.Status, Latency: t.Latency.Seconds(), Error: t.Error, Answer: t.Answer}
	}
	return v
}

// replayRequest is the body of POST /deliveries/replay/.
type replayRequest struct {
	token, subscription, topic string
}

// decodeReplay reads which dead letters are to be sent again: an empty body means
// all.
func decodeReplay(body []byte, maxDepth int) (r replayRequest, err error) {
	s := newScanner(body, maxDepth)
	if s.blank() {
		return r, nil
	}
	var unknown unknownFields
	err = s.object(func(key []byte) error {
		var into *string
		switch string(key) {
		case "token":
			into = &r.token
		case "subscription":
			into = &r.subscription
		case "topic":
			into = &r.topic
		case "state":
			state, err := s.text()
			if err == nil && engine.State(state) != engine.Failed {
				err = wrong(`want "failed": what is not a dead letter is sent anyway`)
			}
			return at("state", err)
		default:
			return unknown.add(&s, key)
		}
		if null, err := s.null(); null {
			return err
		}
		text, err := s.text()
		*into = text
		return at(string(key), err)
	})
	if err == nil {
		err = s.end()
	}
	if err == nil {
		err = unknown.err("token", "state", "subscription", "topic")
	}
	return r, invalid(err)
}
