package rest

import (
	"context"
	"net/http"
	"strings"

	"github.com/anybridge/anybridge/core"
)

// unregister serves POST /unregister/. Names that the token does not hold are
// listed in the answer.
func (f *Frontend) unregister(x *exchange) error {
	return f.unbind(x, registerFields(), "unregister",
		func() (held []core.Pattern) {
			for _, r := range f.o.Bridge.Registrations(x.token.Name) {
				held = append(held, r.Pattern)
			}
			return held
		},
		f.o.Bridge.Unregister)
}

// unsubscribe serves POST /unsubscribe/. What is still owed to the endpoints is
// dropped.
func (f *Frontend) unsubscribe(x *exchange) error {
	return f.unbind(x, subscribeFields(), "unsubscribe",
		func() (held []core.Pattern) {
			for _, s := range f.o.Bridge.Subscriptions(x.token.Name) {
				held = append(held, s.Pattern)
			}
			return held
		},
		f.o.Bridge.Unsubscribe)
}

// unbind is what both have in common. Holding something is right enough to give it
// up: no scope is asked for.
func (f *Frontend) unbind(
	x *exchange, fields []string, action string,
	held func() []core.Pattern,
	remove func(ctx context.Context, owner string, patterns []core.Pattern) ([]core.Pattern, error),
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
	holds := map[core.Address][]core.Pattern{}
	for _, h := range held() {
		holds[h.Address] = append(holds[h.Address], h)
	}
	var patterns []core.Pattern // of what the token holds
	done := make([]bool, len(asked))
	for i, p := range asked {
		for _, h := range holds[p.Address] {
			if h == p || req.endpoints[i].anyMatch {
				patterns = append(patterns, h)
				done[i] = true
			}
		}
	}
	ctx, cancel := f.requestContext(x)
	defer cancel()
	if len(patterns) > 0 {
		_, err := remove(ctx, x.token.Name, patterns)
		x.audit(action, patterns, func(int) string { return "" }, err)
		if err != nil {
			return callError(ctx, err, f.limits.Timeout)
		}
	}
	x.out = append(x.out[:0], '{')
	x.out = core.AppendString(x.out, strings.TrimSuffix(action, "e")+"ed")
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
		b = core.AppendString(b, specs[i].name)
	}
	return append(b, ']')
}
