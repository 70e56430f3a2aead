package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/anybridge/anybridge/core"
)

// register serves POST /register/: all endpoints are registered, or none.
func (f *Frontend) register(x *exchange) error {
	specs, patterns, err := f.bind(x, core.VerbRegister, registerFields())
	if err != nil {
		return err
	}
	release, err := x.reserve(core.VerbRegister, patterns)
	if err != nil {
		x.auditBound(core.VerbRegister, patterns, specs, err)
		return err
	}
	defer release()
	now, held := time.Now(), f.heldRegistrations(x)
	regs := make([]*core.Registration, len(specs))
	for i := range specs {
		regs[i] = &core.Registration{Owner: x.token.Name, Pattern: patterns[i], Endpoint: x.endpoint(&specs[i].endpointSpec, held[patterns[i]]), Invoke: specs[i].invoke, Created: now}
	}
	ctx, cancel := f.requestContext(x)
	defer cancel()
	err = f.o.Bridge.Register(ctx, regs)
	x.auditBound(core.VerbRegister, patterns, specs, err)
	if err != nil {
		return callError(ctx, err, f.limits.Timeout)
	}
	if err := x.stillValid(core.VerbRegister, patterns); err != nil {
		return err
	}
	f.o.Callbacks.keepHealth(f.o.Bridge)
	return x.replyBound("registered", specs, func(i int) string { return regs[i].ID() })
}

// subscribe serves POST /subscribe/: all endpoints are subscribed, or none.
func (f *Frontend) subscribe(x *exchange) error {
	specs, patterns, err := f.bind(x, core.VerbSubscribe, subscribeFields())
	if err != nil {
		return err
	}
	release, err := x.reserve(core.VerbSubscribe, patterns)
	if err != nil {
		x.auditBound(core.VerbSubscribe, patterns, specs, err)
		return err
	}
	defer release()
	now, held := time.Now(), f.heldSubscriptions(x)
	subs := make([]*core.Subscription, len(specs))
	for i := range specs {
		subs[i] = &core.Subscription{Owner: x.token.Name, Pattern: patterns[i], Endpoint: x.endpoint(&specs[i].endpointSpec, held[patterns[i]]), ExcludeMe: specs[i].excludeMe, Created: now}
	}
	ctx, cancel := f.requestContext(x)
	defer cancel()
	err = f.o.Bridge.Subscribe(ctx, subs)
	x.auditBound(core.VerbSubscribe, patterns, specs, err)
	if err != nil {
		return callError(ctx, err, f.limits.Timeout)
	}
	if err := x.stillValid(core.VerbSubscribe, patterns); err != nil {
		return err
	}
	return x.replyBound("subscribed", specs, func(i int) string { return subs[i].ID() })
}

// bind reads and checks a request that ties endpoints to names.
func (f *Frontend) bind(x *exchange, v core.Verb, fields []string) ([]bindingSpec, []core.Pattern, error) {
	if err := x.bearer(); err != nil {
		return nil, nil, err
	}
	body, err := x.body()
	if err != nil {
		return nil, nil, err
	}
	req, err := decodeBindings(body, f.limits, fields)
	if err != nil {
		return nil, nil, x.hint(err)
	}
	if err := x.identify(req.token); err != nil {
		return nil, nil, err
	}
	patterns, err := f.patterns(req.endpoints)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range patterns {
		if err := x.mayPattern(v, p); err != nil {
			return nil, nil, err
		}
	}
	for i := range req.endpoints {
		if err := f.o.Callbacks.CheckURL(req.endpoints[i].url); err != nil {
			x.refused(string(v), patterns[i], req.endpoints[i].url, err)
			return nil, nil, prefixed("endpoints["+quote(req.endpoints[i].name)+"]", err)
		}
	}
	return req.endpoints, patterns, nil
}

// patterns are what the names mean. Two names that mean the same are a mistake.
func (f *Frontend) patterns(specs []bindingSpec) ([]core.Pattern, error) {
	patterns := make([]core.Pattern, len(specs))
	seen := make(map[core.Pattern]string, len(specs))
	for i := range specs {
		a, err := core.ParseAddress(specs[i].name, f.o.Bridge.DefaultBackend())
		if err != nil {
			return nil, prefixed("endpoints["+quote(specs[i].name)+"]", err)
		}
		patterns[i] = core.Pattern{Address: a, Match: specs[i].match}
		if other, had := seen[patterns[i]]; had {
			return nil, core.Errorf(core.InvalidArgument, "endpoints: %s and %s mean the same", quote(other), quote(specs[i].name))
		}
		seen[patterns[i]] = specs[i].name
	}
	return patterns, nil
}

// endpoint is the endpoint as the bridge keeps it, in place of one with the keys
// held, if there is one.
func (x *exchange) endpoint(s *endpointSpec, held []core.Secret) core.Endpoint {
	keys := s.secrets
	if keys == nil {
		keys = x.derivedKeys(held)
	}
	return core.Endpoint{
		URL: s.url, Timeout: s.timeout, Keys: keys,
		Ordered: s.ordered, Concurrency: s.concurrency, Rate: s.rate, Retry: s.retry,
	}
}

// stillValid undoes what was done for a token that was revoked, or restricted,
// meanwhile: whoever did that may have looked at the tables before they changed.
func (x *exchange) stillValid(v core.Verb, patterns []core.Pattern) error {
	now, err := x.f.o.Tokens().Authenticate(x.text)
	if now == x.token {
		return nil
	}
	ctx := context.WithoutCancel(x.r.Context())
	if err != nil || now.Name != x.token.Name {
		_, err := x.f.o.Bridge.RemoveOwner(ctx, x.token.Name)
		x.audit("revoked", patterns, func(int) string { return "" }, err)
		if err != nil {
			return err
		}
		return core.Errorf(core.Unauthenticated, "the token was revoked")
	}
	x.token = now
	var lost []core.Pattern
	var refusal error
	for _, p := range patterns {
		if err := x.mayPattern(v, p); err != nil {
			lost, refusal = append(lost, p), err
		}
	}
	if refusal == nil {
		return nil
	}
	remove := x.f.o.Bridge.Unregister
	if v == core.VerbSubscribe {
		remove = x.f.o.Bridge.Unsubscribe
	}
	_, err = remove(ctx, x.token.Name, lost)
	x.audit("revoked", lost, func(int) string { return "" }, err)
	if err != nil {
		return err
	}
	return refusal
}

// auditBound writes what became of endpoints that were to be tied to names.
func (x *exchange) auditBound(v core.Verb, patterns []core.Pattern, specs []bindingSpec, err error) {
	x.audit(string(v), patterns, func(i int) string { return specs[i].url }, err)
}

// replyBound answers {key: {name: {"id": …}, …}} with the names as they came.
func (x *exchange) replyBound(key string, specs []bindingSpec, id func(int) string) error {
	x.out = append(x.out[:0], '{')
	x.out = core.AppendString(x.out, key)
	x.out = append(x.out, ":{"...)
	for i := range specs {
		if i > 0 {
			x.out = append(x.out, ',')
		}
		x.out = core.AppendString(x.out, specs[i].name)
		x.out = append(x.out, `:{"id":`...)
		x.out = core.AppendString(x.out, id(i))
		x.out = append(x.out, '}')
	}
	x.out = append(x.out, '}', '}', '\n')
	return x.reply(http.StatusOK, jsonType)
}

// prefixed puts the place of a mistake in front of its message.
func prefixed(place string, err error) error {
	e := *core.AsError(err)
	e.Message = place + ": " + e.Message
	return &e
}
