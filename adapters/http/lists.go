package rest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/anybridge/anybridge/core"
)

// RegistrationView is one registration as GET /register/ lists it.
type RegistrationView struct {
	Procedure string           `json:"procedure"`
	Match     core.Match       `json:"match"`
	ID        string           `json:"id"`
	Owner     string           `json:"owner"`
	URL       string           `json:"url"`
	Invoke    string           `json:"invoke"`
	Timeout   float64          `json:"timeout"` // seconds
	Created   time.Time        `json:"created"`
	Health    InvocationHealth `json:"health"`
}

// SubscriptionView is one subscription as GET /subscribe/ lists it.
type SubscriptionView struct {
	Topic       string         `json:"topic"`
	Match       core.Match     `json:"match"`
	ID          string         `json:"id"`
	Owner       string         `json:"owner"`
	URL         string         `json:"url"`
	Timeout     float64        `json:"timeout"` // seconds
	Ordered     bool           `json:"ordered"`
	Concurrency int            `json:"concurrency,omitempty"` // absent: the default
	Rate        float64        `json:"rate,omitempty"`        // absent: no limit
	Retry       []float64      `json:"retry,omitzero"`        // seconds; absent: the default schedule
	ExcludeMe   bool           `json:"exclude_me"`
	Created     time.Time      `json:"created"`
	Health      DeliveryHealth `json:"health"`
}

// DeliveryHealth is how a subscription's endpoint is doing.
type DeliveryHealth struct {
	Delivered   int64     `json:"delivered"`
	Failed      int64     `json:"failed"` // attempts
	Pending     int64     `json:"pending"`
	LastStatus  int       `json:"last_status,omitempty"`
	LastError   string    `json:"last_error,omitempty"`
	LastAttempt time.Time `json:"last_attempt,omitzero"`
	Parked      bool      `json:"parked"` // attempts fail: only probes are sent
	NextProbe   time.Time `json:"next_probe,omitzero"`
	Disabled    string    `json:"disabled,omitempty"` // why nothing is sent until it is subscribed again
}

// InvocationHealth is how a registration's endpoint is doing since it was
// registered.
type InvocationHealth struct {
	Answered  int64     `json:"answered"` // results, and errors that the procedure raised
	Failed    int64     `json:"failed"`   // no answer, or a wrong one
	LastError string    `json:"last_error,omitempty"`
	LastCall  time.Time `json:"last_call,omitzero"`
}

// listRegistrations serves GET /register/.
func (f *Frontend) listRegistrations(x *exchange) error {
	owner, err := x.listOwner()
	if err != nil {
		return err
	}
	views := []RegistrationView{}
	for _, r := range f.o.Bridge.Registrations(owner) {
		v := RegistrationView{
			Procedure: f.text(r.Pattern.Address), Match: r.Pattern.Match, ID: r.ID(), Owner: r.Owner, URL: x.shown(r.Owner, r.Endpoint.URL),
			Invoke: r.Invoke, Timeout: f.o.Callbacks.timeout(&r.Endpoint).Seconds(), Created: r.Created.UTC(), Health: f.o.Callbacks.Health(r),
		}
		if v.Invoke == "" {
			v.Invoke = "single"
		}
		views = append(views, v)
	}
	return x.replyJSON(map[string]any{"registrations": views})
}

// listSubscriptions serves GET /subscribe/.
func (f *Frontend) listSubscriptions(x *exchange) error {
	owner, err := x.listOwner()
	if err != nil {
		return err
	}
	views := []SubscriptionView{}
	for _, s := range f.o.Bridge.Subscriptions(owner) {
		id := s.ID()
		h := f.o.Work.Health(s)
		v := SubscriptionView{
			Topic: f.text(s.Pattern.Address), Match: s.Pattern.Match, ID: id, Owner: s.Owner, URL: x.shown(s.Owner, s.Endpoint.URL),
			Timeout: f.o.Callbacks.timeout(&s.Endpoint).Seconds(), Ordered: s.Endpoint.Ordered, Concurrency: s.Endpoint.Concurrency,
			Rate: s.Endpoint.Rate, ExcludeMe: s.ExcludeMe, Created: s.Created.UTC(),
			Health: DeliveryHealth{
				Delivered: h.Delivered, Failed: h.Failed, Pending: h.Pending,
				LastStatus: h.LastStatus, LastError: h.LastError, LastAttempt: h.LastAttempt.UTC(),
				Parked: h.Parked, NextProbe: h.NextProbe.UTC(), Disabled: h.Disabled,
			},
		}
		if s.Endpoint.Retry != nil {
			v.Retry = make([]float64, len(s.Endpoint.Retry))
			for i, d := range s.Endpoint.Retry {
				v.Retry[i] = d.Seconds()
			}
		}
		views = append(views, v)
	}
	return x.replyJSON(map[string]any{"subscriptions": views})
}

// listOwner is whose things are listed: the token's own or, for ?all=1 with the
// admin scope, everybody's ("").
func (x *exchange) listOwner() (string, error) {
	if err := x.onlyBearer(); err != nil {
		return "", err
	}
	return x.whose()
}

// whose is listOwner for a request that is authenticated already.
func (x *exchange) whose() (string, error) {
	if all := x.r.URL.Query().Get("all"); all == "" || all == "0" {
		return x.token.Name, nil
	}
	return "", x.admin()
}

// shown is a callback URL for the eyes of who asks: of others, without its query,
// where apps keep secrets.
func (x *exchange) shown(owner, raw string) string {
	if owner == x.token.Name {
		return raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	if u.RawQuery != "" {
		u.RawQuery = "…"
	}
	return u.String()
}

// onlyBearer authenticates a request without a body.
func (x *exchange) onlyBearer() error {
	if err := x.bearer(); err != nil {
		return err
	}
	return x.identify("")
}

// replyJSON answers 200 with v, for what is not asked often.
func (x *exchange) replyJSON(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return core.Errorf(core.Internal, "encode answer: %w", err)
	}
	x.out = append(x.out[:0], b.Bytes()...)
	return x.reply(http.StatusOK, jsonType)
}
