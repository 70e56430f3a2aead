package tests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestEveryClientWorksWithAnyAppBothWays puts each WAMP client on the router and an
// HTTP app behind the bridge, and has each reach the other in every way there is.
func TestEveryClientWorksWithAnyAppBothWays(t *testing.T) {
	b := startBridge(t, setup{})
	for _, c := range clients() {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			p := newPair(t, b, c)
			t.Run("an HTTP call reaches its procedure and gets the result", p.callIn)
			t.Run("it calls an app's procedure and gets the result", p.callOut)
			t.Run("an HTTP publish reaches its subscription", p.publishIn)
			t.Run("its event reaches the URL that subscribed", p.publishOut)
			t.Run("the error it raises is a 500 with URI, args and kwargs", p.errorIn)
			t.Run("the error an app raises has URI, args and kwargs", p.errorOut)
			t.Run("a failure without an error of its own has an error all the same", p.crashes)
			t.Run("it learns who called", p.detailsIn)
			t.Run("an app learns who called, and who published", p.detailsOut)
			t.Run("its prefix and wildcard patterns are reached", p.patternsIn)
			t.Run("an app's prefix and wildcard patterns are reached", p.patternsOut)
			t.Run("no procedure is a 404 and WAMP's own error", p.noProcedure)
			t.Run("an HTTP client that hangs up cancels its call", p.cancelIn)
			t.Run("a call that it cancels ends at the app", p.cancelOut)
			t.Run("a call it does not answer in time is a 504", p.timeoutIn)
			t.Run("a call an app does not answer in time is an error", p.timeoutOut)
			t.Run("values cross unharmed", p.values)
			t.Run("it was never disconnected", func(t *testing.T) {
				p.c.none(t, "leaving", func(l line) bool { return l.On == "left" })
			})
		})
	}
}

// pair is a WAMP component and an HTTP app, with the bridge between them.
type pair struct {
	b   *bridge
	c   *component
	app *app
	own string // the app's names begin with it
}

func newPair(t *testing.T, b *bridge, c client) *pair {
	p := &pair{b: b, c: c.start(t, b), app: startApp(t, theToken)}
	p.own = p.c.name + "_app"
	b.register(t, object{
		p.own + ".echo":      p.app.view("/echo", echo),
		p.own + ".refuse":    p.app.view("/refuse", refuse),
		p.own + ".crash":     p.app.view("/crash", func(callback) response { return response{http.StatusInternalServerError, "text/plain", "oops"} }),
		p.own + ".hang":      p.app.view("/hang", hang),
		p.own + ".impatient": object{"url": p.app.view("/impatient", hang), "timeout": "200ms"},
		p.own + ".family":    object{"url": p.app.view("/family", nameOf), "match": "prefix"},
		p.own + "..leaf":     object{"url": p.app.view("/leaf", nameOf), "match": "wildcard"},
	})
	b.subscribe(t, object{
		p.own + ".news":   p.app.view("/news", nil),
		p.own + ".wire":   object{"url": p.app.view("/wire", nil), "match": "prefix"},
		p.own + "..sport": object{"url": p.app.view("/sport", nil), "match": "wildcard"},
	})
	return p
}

func (p *pair) callIn(t *testing.T) {
	got := p.b.call(t, p.c.name+".echo", object{"args": []any{1, "two"}, "kwargs": object{"three": 3}})
	sameJSON(t, "args", got.Args, raw([]any{1, "two"}))
	sameJSON(t, "kwargs", got.Kwargs, raw(object{"three": 3}))
	got = p.b.call(t, p.c.name+".echo", object{"params": []any{"one"}})
	sameJSON(t, "args of a call with params", got.Args, raw([]any{"one"}))
	got = p.b.call(t, p.c.name+".echo", object{"kwargs": object{"only": true}})
	sameJSON(t, "args of a call with nothing but kwargs", got.Args, raw([]any{}))
	sameJSON(t, "kwargs of a call with nothing but kwargs", got.Kwargs, raw(object{"only": true}))
}

func (p *pair) callOut(t *testing.T) {
	got := p.c.call(t, p.own+".echo", []any{1, "two"}, object{"three": 3})
	sameJSON(t, "args", got.Args, raw([]any{1, "two"}))
	sameJSON(t, "kwargs", got.Kwargs, raw(object{"three": 3}))
	asked := p.app.next(t, "/echo")
	equal(t, "type", asked.Type, "invocation")
	equal(t, "procedure", asked.Procedure, p.own+".echo")
	sameJSON(t, "args at the app", asked.Args, raw([]any{1, "two"}))
	sameJSON(t, "kwargs at the app", asked.Kwargs, raw(object{"three": 3}))
	if asked.ID == "" {
		t.Error("the invocation has no id")
	}
}

func (p *pair) publishIn(t *testing.T) {
	id := p.b.publish(t, p.c.name+".news", object{"args": []any{1, "two"}, "kwargs": object{"three": 3}})
	got := p.c.event(t, "news")
	sameJSON(t, "args", got.Args, raw([]any{1, "two"}))
	sameJSON(t, "kwargs", got.Kwargs, raw(object{"three": 3}))
	equal(t, "topic", got.Topic, p.c.name+".news")
	if !strings.Contains(id, fmt.Sprint(got.Publication)) {
		t.Errorf("the subscriber knows the event as %d, its publisher as %s", got.Publication, id)
	}
}

func (p *pair) publishOut(t *testing.T) {
	sent := p.c.publish(t, p.own+".news", []any{1, "two"}, object{"three": 3}, nil)
	got := p.app.next(t, "/news")
	equal(t, "type", got.Type, "event")
	equal(t, "topic", got.Topic, p.own+".news")
	sameJSON(t, "args", got.Args, raw([]any{1, "two"}))
	sameJSON(t, "kwargs", got.Kwargs, raw(object{"three": 3}))
	if got.Time.IsZero() || time.Since(got.Time).Abs() > time.Minute {
		t.Errorf("time of the event: %s", got.Time)
	}
	if sent.Publication != 0 && !strings.Contains(got.ID, fmt.Sprint(sent.Publication)) {
		t.Errorf("the publisher knows the event as %d, the app as %s", sent.Publication, got.ID)
	}
}

func (p *pair) errorIn(t *testing.T) {
	a := p.b.post(t, "/call/"+p.c.name+".refuse/", object{"args": []any{1}, "kwargs": object{"why": "late"}})
	got := a.want(t, http.StatusInternalServerError)
	equal(t, "Content-Type", a.Type, problemType)
	equal(t, "error", got.Error, "com.example.error.refused")
	sameJSON(t, "args", got.Args, raw([]any{1}))
	sameJSON(t, "kwargs", got.Kwargs, raw(object{"why": "late"}))
	equal(t, "type", got.Type, "urn:anybridge:error:application_error")
}

func (p *pair) errorOut(t *testing.T) {
	got := p.c.tryCall(t, p.own+".refuse", []any{1}, object{"why": "late"}, nil)
	equal(t, "error", got.Error, "com.example.error.refused")
	sameJSON(t, "args", got.Args, raw([]any{1}))
	sameJSON(t, "kwargs", got.Kwargs, raw(object{"why": "late"}))
}

func (p *pair) crashes(t *testing.T) {
	in := p.b.post(t, "/call/"+p.c.name+".crash/", object{}).want(t, http.StatusInternalServerError)
	equal(t, "error of the component", in.Error, "wamp.error.runtime_error")
	sameJSON(t, "args of the component's error", in.Args, raw([]any{"the program broke"}))
	out := p.c.tryCall(t, p.own+".crash", []any{}, nil, nil)
	equal(t, "error of the app", out.Error, "anybridge.error.callback_failed")
}

// detailsIn: who registers with disclose_caller learns the session of its caller,
// which is the bridge's for every HTTP call.
func (p *pair) detailsIn(t *testing.T) {
	if !p.c.discloses {
		t.Skip("Autobahn|Python has no disclose_caller")
	}
	var who struct {
		Procedure string
		Caller    uint64
	}
	if err := json.Unmarshal(p.b.call(t, p.c.name+".who", object{}).Args, &[]any{&who}); err != nil {
		t.Fatal(err)
	}
	equal(t, "procedure", who.Procedure, p.c.name+".who")
	if who.Caller == 0 || who.Caller == p.c.session {
		t.Errorf("caller of an HTTP call: %d", who.Caller)
	}
}

// detailsOut: the bridge asks who calls an app's procedure; a publisher is known only
// if it asks to be.
func (p *pair) detailsOut(t *testing.T) {
	p.c.call(t, p.own+".echo", []any{"who"}, nil)
	equal(t, "caller", p.app.next(t, "/echo").details(t).Caller, p.c.session)
	p.c.publish(t, p.own+".news", []any{"who"}, nil, nil)
	equal(t, "publisher who did not ask to be disclosed", p.app.next(t, "/news").details(t).Publisher, 0)
	if !p.c.discloses {
		return // Autobahn|Python has no disclose_me
	}
	p.c.publish(t, p.own+".news", []any{"who"}, nil, object{"disclose_me": true})
	equal(t, "publisher", p.app.next(t, "/news").details(t).Publisher, p.c.session)
}

func (p *pair) patternsIn(t *testing.T) {
	for _, procedure := range []string{p.c.name + ".family", p.c.name + ".family.of.mine", p.c.name + ".any.leaf"} {
		var who struct{ Procedure string }
		if err := json.Unmarshal(p.b.call(t, procedure, object{}).Args, &[]any{&who}); err != nil {
			t.Fatal(err)
		}
		equal(t, "procedure", who.Procedure, procedure)
	}
	for topic, subscription := range map[string]string{".wire": "wire", ".wire.from.here": "wire", ".any.sport": "sport"} {
		p.b.publish(t, p.c.name+topic, object{"args": []any{topic}})
		got := p.c.event(t, subscription)
		equal(t, "topic", got.Topic, p.c.name+topic)
		sameJSON(t, "args", got.Args, raw([]any{topic}))
	}
	p.b.publish(t, p.c.name+".any.thing.sport", object{}) // matches none of them
	p.b.publish(t, p.c.name+".news", object{"args": []any{"a marker"}})
	sameJSON(t, "args of the marker", p.c.event(t, "news").Args, raw([]any{"a marker"}))
	p.c.none(t, "an event that matches none of its patterns", func(l line) bool { return l.On == "event" })
}

func (p *pair) patternsOut(t *testing.T) {
	for procedure, path := range map[string]string{".family": "/family", ".family.of.mine": "/family", ".any.leaf": "/leaf"} {
		got := p.c.call(t, p.own+procedure, []any{}, nil)
		sameJSON(t, "answer", got.Args, raw([]any{p.own + procedure}))
		equal(t, "procedure at the app", p.app.next(t, path).Procedure, p.own+procedure)
	}
	for topic, path := range map[string]string{".wire": "/wire", ".wire.from.here": "/wire", ".any.sport": "/sport"} {
		p.c.publish(t, p.own+topic, []any{topic}, nil, nil)
		got := p.app.next(t, path)
		equal(t, "topic", got.Topic, p.own+topic)
		sameJSON(t, "args", got.Args, raw([]any{topic}))
	}
}

func (p *pair) noProcedure(t *testing.T) {
	equal(t, "status", p.b.post(t, "/call/"+p.c.name+".nothing/", object{}).Status, http.StatusNotFound)
	equal(t, "error", p.c.tryCall(t, p.own+".nothing", []any{}, nil, nil).Error, "wamp.error.no_such_procedure")
}

func (p *pair) cancelIn(t *testing.T) {
	ctx, hangUp := context.WithCancel(deadline(t))
	done := make(chan error, 1)
	go func() {
		_, err := p.b.send(ctx, http.MethodPost, "/call/"+p.c.name+".hang/", object{"args": []any{"hang up"}})
		done <- err
	}()
	p.c.awaitOn(t, "hanging")
	hangUp()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the call ended with %v", err)
	}
	if p.c.hearsStop {
		sameJSON(t, "args of the cancelled call", p.c.awaitOn(t, "cancelled").Args, raw([]any{"hang up"}))
	}
	p.b.call(t, p.c.name+".echo", object{}) // it still serves
}

func (p *pair) cancelOut(t *testing.T) {
	id := p.c.do(t, order{Do: "call", URI: p.own + ".hang", Args: raw([]any{"cancel"})})
	asked := p.app.next(t, "/hang")
	// AutobahnJS takes an answer to a cancelled call for a violation of the protocol
	// unless it asked to wait for it; the others have no choice of mode.
	p.c.do(t, order{Do: "cancel", Call: id, Options: object{"mode": "kill"}})
	if got := p.c.answer(t, id); got.On != "error" {
		t.Errorf("the cancelled call ended with %s", got.raw)
	}
	select {
	case <-asked.Gone:
	case <-time.After(patience):
		t.Error("the app still works for a call that was cancelled")
	}
	p.c.call(t, p.own+".echo", []any{}, nil) // it is still connected
	p.app.next(t, "/echo")
}

func (p *pair) timeoutIn(t *testing.T) {
	got := p.b.post(t, "/call/"+p.c.name+".hang/", object{"args": []any{"late"}, "timeout": "200ms"}).want(t, http.StatusGatewayTimeout)
	equal(t, "type", got.Type, "urn:anybridge:error:timeout")
	if p.c.hearsStop {
		sameJSON(t, "args of the cancelled call", p.c.awaitOn(t, "cancelled").Args, raw([]any{"late"}))
	}
}

func (p *pair) timeoutOut(t *testing.T) {
	got := p.c.tryCall(t, p.own+".impatient", []any{}, nil, nil)
	equal(t, "error of an app that does not answer", got.Error, "wamp.error.timeout")
	// A timeout that the caller itself sets ends the call as well.
	got = p.c.tryCall(t, p.own+".hang", []any{"late"}, nil, object{"timeout": 200})
	equal(t, "error of a call with a timeout", got.Error, "wamp.error.timeout")
	select {
	case <-p.app.next(t, "/hang").Gone:
	case <-time.After(patience):
		t.Error("the app still works for a call that timed out")
	}
}

// values sends all values in one go, in each direction and in each place.
func (p *pair) values(t *testing.T) {
	var asJSON, asSeen []string
	var sent []any
	for _, v := range valuesOf(p.c.client) {
		asJSON, asSeen, sent = append(asJSON, v.json), append(asSeen, v.seen), append(sent, v.sent)
	}
	overHTTP := json.RawMessage("[" + strings.Join(asJSON, ",") + "]")
	seen := "[" + strings.Join(asSeen, ",") + "]"

	var described [2]string
	if err := json.Unmarshal(p.b.call(t, p.c.name+".describe", object{"args": overHTTP}).Args, &[]any{&described}); err != nil {
		t.Fatal(err)
	}
	equal(t, "the args of an HTTP call, at the component", described[0], seen)
	sameJSON(t, "the result of an HTTP call", p.b.call(t, p.c.name+".echo", object{"args": overHTTP}).Args, overHTTP)
	refused := p.b.post(t, "/call/"+p.c.name+".refuse/", object{"args": overHTTP}).want(t, http.StatusInternalServerError)
	sameJSON(t, "the args of an error over HTTP", refused.Args, overHTTP)

	result := p.c.call(t, p.own+".echo", sent, nil)
	equal(t, "the result of the component's call", result.Text, seen)
	sameJSON(t, "the args of the component's call, at the app", p.app.next(t, "/echo").Args, overHTTP)

	p.b.publish(t, p.c.name+".news", object{"args": overHTTP})
	equal(t, "the args of an HTTP event, at the component", p.c.event(t, "news").Text, seen)
	p.c.publish(t, p.own+".news", sent, nil, nil)
	sameJSON(t, "the args of the component's event, at the app", p.app.next(t, "/news").Args, overHTTP)

	// Keyword arguments likewise.
	kwargs := json.RawMessage(`{"z":` + string(overHTTP) + `}`)
	if p.c.keyOrder {
		kwargs = json.RawMessage(`{"z":` + string(overHTTP) + `,"a":{"y":1,"b":2}}`)
	}
	sameJSON(t, "the kwargs of a result over HTTP", p.b.call(t, p.c.name+".echo", object{"kwargs": kwargs}).Kwargs, kwargs)

	// Nothing, null and an empty list are three different things.
	for _, args := range []string{`[]`, `[null]`, `[[]]`, `[{}]`} {
		got := p.b.call(t, p.c.name+".echo", object{"args": json.RawMessage(args)})
		sameJSON(t, "the result of an HTTP call with "+args, got.Args, json.RawMessage(args))
		sameJSON(t, "the kwargs of that", got.Kwargs, raw(object{}))
	}
}

// TestProgressiveResultsTravelBetweenAnyTwoClients has every client ask every kind of
// callee for progressive results, AutobahnJS among them, which does not announce
// call_canceling.
func TestProgressiveResultsTravelBetweenAnyTwoClients(t *testing.T) {
	b := startBridge(t, setup{})
	var all []*component
	for _, c := range []client{
		{library: "asyncio", transport: "websocket", serializer: "cbor"},
		{library: "twisted", transport: "rawsocket", serializer: "msgpack"},
		{library: "node", transport: "websocket", serializer: "json"},
		{library: "node", transport: "rawsocket", serializer: "json"},
		{library: "nexus", transport: "websocket", serializer: "msgpack"},
	} {
		all = append(all, c.start(t, b))
	}
	for _, callee := range all {
		for _, caller := range all {
			t.Run(fmt.Sprintf("%s asks %s", caller.client, callee.client), func(t *testing.T) {
				id := caller.do(t, order{Do: "call", URI: callee.name + ".count", Args: raw([]any{3}), Options: object{"receive_progress": true}})
				for n := 1; n <= 3; n++ {
					got := caller.await(t, "progress", func(l line) bool { return l.On == "progress" && l.ID == id })
					sameJSON(t, "progressive result", got.Args, raw([]any{n}))
				}
				sameJSON(t, "final result", caller.answer(t, id).Args, raw([]any{3}))
			})
		}
		t.Run(fmt.Sprintf("HTTP asks %s and gets the final result", callee.client), func(t *testing.T) {
			sameJSON(t, "result", b.call(t, callee.name+".count", object{"args": []any{3}}).Args, raw([]any{3}))
		})
	}
}
