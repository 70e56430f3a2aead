package rest

import (
	"context"
	"net/http"
	"slices"

	"github.com/anybridge/anybridge/core"
)

// unregister serves POST /unregister/. Names that the token does not hold are
// listed in the answer.
func (f *Frontend) unregister(x *exchange) error {
	return f.unbind(x, registerFields(), "unregistered",
		func() (held []core.Pattern) {
			for _, r := range f.o.Bridge.Registrations(x.token.Name) {
				held = append(held, r.Pattern)
			}
			return held
		},
		f.o.Bridge.Unregister,
		func(core.Pattern) {})
}

// unsubscribe serves POST /unsubscribe/. What is still owed to the endpoints is
// dropped.
func (f *Frontend) unsubscribe(x *exchange) error {
	return f.unbind(x, subscribeFields(), "unsubscribed",
		func() (held []core.Pattern) {
			for _, s := range f.o.Bridge.Subscriptions(x.token.Name) {
				held = append(held, s.Pattern)
			}
			return held
		},
		f.o.Bridge.Unsubscribe,
		func(p core.Pattern) {
			s := core.Subscription{Owner: x.token.Name, Pattern: p}
			f.o.Work.Forget(s.ID())
		})
}

// unbind is what both have in common. Holding something is right enough to give it
// up: no scope is asked for.
func (f *Frontend) unbind(
	x *exchange, fields []string, key string,
	held func() []core.Pattern,
	remove func(ctx context.Context, owner string, patterns []core.Pattern) ([]core.Pattern, error),
	removed func(core.Pattern),
) error {
	if err := x.bearer(); err != nil {
		return err
	}
	body, err := x.body()
	if err != nil {
		return err
	}
	req, err := decodeNames(body, f.limits, fields)
	if err != nil {
		return x.hint(err)
	}
	if err := x.identify(req.token); err != nil {
		return err
	}
	asked, err := f.patterns(req.endpoints)
	if err != nil {
		return err
	}
	holds := held()
	var patterns []core.Pattern // of what the token holds
	done := make([]bool, len(asked))
	for i, p := range asked {
		for _, h := range holds {
			if h == p || req.endpoints[i].anyMatch && h.Address == p.Address {
				patterns = append(patterns, h)
				done[i] = true
			}
		}
	}
	ctx, cancel := f.requestContext(x)
	defer cancel()
	if len(patterns) > 0 {
		gone, err := remove(ctx, x.token.Name, patterns)
		if err != nil {
			return callError(ctx, err, f.limits.Timeout)
		}
		for _, p := range patterns {
			if !slices.Contains(gone, p) {
				removed(p)
			}
		}
	}
	x.out = append(x.out[:0], '{')
	x.out = appendString(x.out, key)
	x.out = append(x.out, ':')
	x.out = appendNames(x.out, req.endpoints, done, true)
	x.out = append(x.out, `,"unknown":`...)
	x.out = appendNames(x.out, req.endpoints, done, false)
	x.out = append(x.out, '}', '\n')
	return x.reply(http.StatusOK, jsonType)
}

// appendNames appends the list of the names whose done is want.
func appendNames(b []byte, specs []bindingSpec, done []bool, want bool) []byte {
	b = append(b, '[')
	first := true
	for i := range specs {
		if done[i] != want {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendString(b, specs[i].name)
	}
	return append(b, ']')
}
