package record

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/anybridge/anybridge/core"
)

const (
	subscriptionForm = 'S'
	registrationForm = 'R'
)

// AppendSubscription appends a subscription's record.
func AppendSubscription(b []byte, s *core.Subscription) []byte {
	b = append(b, subscriptionForm)
	b = appendBinding(b, s.Owner, s.Pattern, &s.Endpoint, s.Created)
	return append(b, bit(s.ExcludeMe))
}

// AppendRegistration appends a registration's record.
func AppendRegistration(b []byte, g *core.Registration) []byte {
	b = append(b, registrationForm)
	b = appendBinding(b, g.Owner, g.Pattern, &g.Endpoint, g.Created)
	return appendText(b, g.Invoke)
}

// Binding reads what one of the two wrote: one of its results is not nil.
func Binding(b []byte) (*core.Subscription, *core.Registration, error) {
	r := reader{b: append([]byte(nil), b...)} // it stays; the message goes
	switch r.byte() {
	case subscriptionForm:
		s := &core.Subscription{}
		r.binding(&s.Owner, &s.Pattern, &s.Endpoint, &s.Created)
		s.ExcludeMe = r.byte() == 1
		return s, nil, r.done("subscription")
	case registrationForm:
		g := &core.Registration{}
		r.binding(&g.Owner, &g.Pattern, &g.Endpoint, &g.Created)
		g.Invoke = r.text()
		return nil, g, r.done("registration")
	}
	return nil, nil, fmt.Errorf("read binding: %w", ErrMalformed)
}

func appendBinding(b []byte, owner string, p core.Pattern, e *core.Endpoint, created time.Time) []byte {
	b = appendText(b, owner)
	b = appendText(b, p.Backend)
	b = appendText(b, p.Name)
	b = appendText(b, string(p.Match))
	b = appendEndpoint(b, e)
	return appendTime(b, created)
}

func (r *reader) binding(owner *string, p *core.Pattern, e *core.Endpoint, created *time.Time) {
	*owner = r.text()
	*p = core.Pattern{Address: core.Address{Backend: r.text(), Name: r.text()}, Match: core.Match(r.text())}
	*e = r.endpoint()
	*created = r.time()
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func appendEndpoint(b []byte, e *core.Endpoint) []byte {
	b = appendText(b, e.URL)
	b = binary.AppendVarint(b, int64(e.Timeout))
	b = binary.AppendUvarint(b, uint64(len(e.Keys)))
	for _, k := range e.Keys {
		b = appendText(b, []byte(k))
	}
	b = append(b, bit(e.Ordered))
	b = binary.AppendVarint(b, int64(e.Concurrency))
	b = binary.AppendUvarint(b, math.Float64bits(e.Rate))
	if e.Retry == nil {
		return append(b, 0)
	}
	b = append(b, 1)
	b = binary.AppendUvarint(b, uint64(len(e.Retry)))
	for _, d := range e.Retry {
		b = binary.AppendVarint(b, int64(d))
	}
	return b
}

func (r *reader) endpoint() core.Endpoint {
	e := core.Endpoint{URL: r.text(), Timeout: time.Duration(r.int())}
	for range r.count() {
		e.Keys = append(e.Keys, core.Secret(r.bytes()))
	}
	e.Ordered = r.byte() == 1
	e.Concurrency = int(r.int())
	e.Rate = math.Float64frombits(r.uint())
	if r.byte() == 1 {
		e.Retry = []time.Duration{}
		for range r.count() {
			e.Retry = append(e.Retry, time.Duration(r.int()))
		}
	}
	return e
}
