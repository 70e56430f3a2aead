package router

import (
	"fmt"
	"sync"
	"testing"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

func TestMatchPolicies(t *testing.T) {
	r := start(t, Config{})
	callee, caller := join(t, r, wsJSON), join(t, r, rsCBOR)
	exact := callee.register("com.shop.order", nil)
	prefix := callee.register("com.shop", wamp.Dict{"match": "prefix"})
	wild := callee.register("com..order", wamp.Dict{"match": "wildcard"})
	for _, c := range []struct {
		procedure    string
		registration wamp.ID
		named        bool
	}{
		{"com.shop.order", exact, false},
		{"com.shop.cancel", prefix, true},
		{"com.shopping", prefix, true},
		{"com.mail.order", wild, true},
	} {
		caller.call(c.procedure, nil, 1)
		inv := expect[*wamp.Invocation](callee)
		if inv.Registration != c.registration {
			t.Errorf("%s went to %d, want %d", c.procedure, inv.Registration, c.registration)
		}
		if (inv.Details["procedure"] == c.procedure) != c.named {
			t.Errorf("%s: details %v", c.procedure, inv.Details)
		}
		callee.send(&wamp.Yield{Request: inv.Request, Arguments: inv.Arguments})
		wantArgs(t, expect[*wamp.Result](caller), 1)
	}
	callee.send(&wamp.Unregister{Request: callee.request(), Registration: prefix})
	expect[*wamp.Unregistered](callee)
	caller.call("com.shopping", nil)
	caller.failed(wamp.ErrNoSuchProcedure)
	callee.send(&wamp.Unregister{Request: callee.request(), Registration: prefix})
	callee.failed(wamp.ErrNoSuchRegistration)
}

func TestInvokePolicies(t *testing.T) {
	r := start(t, Config{})
	caller := join(t, r, wsJSON)
	callees := []*peer{join(t, r, wsJSON), join(t, r, rsJSON), join(t, r, wsMsgPack)}
	policies := map[string][]int{"first": {0, 0, 0, 0}, "last": {2, 2, 2, 2}, "roundrobin": {0, 1, 2, 0}, "random": nil}
	for policy := range policies {
		for _, c := range callees {
			c.register("com."+policy, wamp.Dict{"invoke": policy})
		}
	}
	var wg sync.WaitGroup
	for i, c := range callees { // each answers with its number
		wg.Go(func() {
			for {
				m, err := c.read()
				if err != nil {
					return
				}
				if inv, ok := m.(*wamp.Invocation); ok {
					c.send(&wamp.Yield{Request: inv.Request, Arguments: wamp.List{i}})
				}
			}
		})
	}
	for policy, want := range policies {
		hits := make([]int, len(callees))
		for n := range 60 {
			caller.call("com."+policy, nil)
			by := int(values(expect[*wamp.Result](caller))[0].(float64))
			hits[by]++
			if n < len(want) && by != want[n] {
				t.Errorf("%s: call %d went to %d, want %d", policy, n, by, want[n])
			}
		}
		if want == nil && (hits[0] == 0 || hits[1] == 0 || hits[2] == 0) {
			t.Errorf("random: %v", hits)
		}
	}
	for _, c := range callees {
		c.close()
	}
	wg.Wait()
}

func TestInvokePolicyConflicts(t *testing.T) {
	r := start(t, Config{})
	a, b := join(t, r, wsJSON), join(t, r, wsJSON)
	a.register("com.single", nil)
	a.register("com.shared", wamp.Dict{"invoke": "first"})
	for _, c := range []struct{ procedure, invoke string }{
		{"com.single", "single"}, {"com.single", "first"}, {"com.shared", "last"}, {"com.shared", "single"},
	} {
		b.send(&wamp.Register{Request: b.request(), Procedure: wamp.URI(c.procedure), Options: wamp.Dict{"invoke": c.invoke}})
		b.failed(wamp.ErrProcedureAlreadyExists)
	}
	a.close()
	eventually(t, "a gone", func() bool { return r.Counters()["sessions_now"] == 1 })
	b.register("com.single", nil)
}

func TestCallerDetails(t *testing.T) {
	r := start(t, Config{Principals: map[string]Principal{"ann": {Ticket: "t", Role: "clerk", Allow: []string{"*"}}}})
	callee := join(t, r, wsJSON)
	callee.register("com.plain", nil)
	callee.register("com.told", wamp.Dict{"disclose_caller": true})
	ann := dial(t, r, rsJSON)
	joinTicket(ann, "ann", "t")
	for _, c := range []struct {
		procedure string
		options   wamp.Dict
		told      bool
	}{
		{"com.plain", nil, false}, {"com.plain", wamp.Dict{"disclose_me": true}, true}, {"com.told", nil, true},
	} {
		ann.call(c.procedure, c.options)
		d := expect[*wamp.Invocation](callee).Details
		if c.told && (fmt.Sprint(d["caller"]) != fmt.Sprint(ann.id) || d["caller_authid"] != "ann" || d["caller_authrole"] != "clerk") {
			t.Errorf("%s %v: details %v", c.procedure, c.options, d)
		}
		if !c.told && len(d) != 0 {
			t.Errorf("%s %v: details %v", c.procedure, c.options, d)
		}
	}
}

// With Disclose nobody has to ask: Autobahn|Python, for one, cannot.
func TestDiscloseTellsWithoutBeingAsked(t *testing.T) {
	cfg := Config{Disclose: true, Principals: map[string]Principal{"ann": {Ticket: "t", Role: "clerk", Allow: []string{"*"}}}}
	r := start(t, cfg)
	callee := join(t, r, wsJSON)
	callee.register("com.plain", nil)
	callee.subscribe("com.topic", nil)
	ann := dial(t, r, rsJSON)
	joinTicket(ann, "ann", "t")
	ann.call("com.plain", nil)
	if d := expect[*wamp.Invocation](callee).Details; fmt.Sprint(d["caller"]) != fmt.Sprint(ann.id) || d["caller_authid"] != "ann" {
		t.Errorf("invocation details %v", d)
	}
	ann.publish("com.topic", nil)
	if d := expect[*wamp.Event](callee).Details; fmt.Sprint(d["publisher"]) != fmt.Sprint(ann.id) || d["publisher_authid"] != "ann" {
		t.Errorf("event details %v", d)
	}
	local := attach(t, r)
	if err := local.Send(t.Context(), &wamp.Publish{Request: 1, Topic: "com.topic"}); err != nil {
		t.Fatal(err)
	}
	if d := expect[*wamp.Event](callee).Details; d["publisher_authid"] != "anybridge" {
		t.Errorf("event details %v", d)
	}
}

func TestCallErrorsCross(t *testing.T) {
	r := start(t, Config{})
	callee, caller := join(t, r, wsCBOR), join(t, r, wsJSON)
	callee.register("com.fail", nil)
	id := caller.call("com.fail", nil)
	inv := expect[*wamp.Invocation](callee)
	callee.send(&wamp.Error{Type: wamp.INVOCATION, Request: inv.Request, Error: "com.sold_out", Arguments: wamp.List{1}, ArgumentsKw: wamp.Dict{"k": "v"}})
	e := caller.failed("com.sold_out")
	if e.Request != id || e.Type != wamp.CALL {
		t.Errorf("%+v", e)
	}
	wantArgs(t, e, 1)
}

func TestCallTimeout(t *testing.T) {
	r := start(t, Config{})
	plain, telling := dial(t, r, wsJSON), join(t, r, rsCBOR)
	plain.enter(&wamp.Hello{Realm: "realm1", Details: wamp.Dict{"roles": wamp.Dict{"callee": wamp.Dict{}}}})
	plain.register("com.plain", nil)
	telling.register("com.told", wamp.Dict{"forward_timeout": true})
	telling.register("com.untold", nil)
	caller := join(t, r, wsMsgPack)
	for _, c := range []struct {
		procedure string
		callee    *peer
		told      bool
		interrupt bool
	}{{"com.plain", plain, false, false}, {"com.told", telling, true, true}, {"com.untold", telling, false, true}} {
		caller.call(c.procedure, wamp.Dict{"timeout": 30})
		inv := expect[*wamp.Invocation](c.callee)
		if (inv.Details["timeout"] != nil) != c.told {
			t.Errorf("%s: details %v", c.procedure, inv.Details)
		}
		caller.failed(wamp.ErrTimeout)
		if c.interrupt {
			if i := expect[*wamp.Interrupt](c.callee); i.Request != inv.Request || i.Options["mode"] != "killnowait" {
				t.Errorf("%s: INTERRUPT %+v", c.procedure, i)
			}
		}
		// What the callee answers now reaches nobody.
		c.callee.send(&wamp.Yield{Request: inv.Request})
	}
	caller.sync()
	// A timeout that is not reached does nothing, however long it is.
	caller.call("com.untold", wamp.Dict{"timeout": uint64(1) << 62})
	inv := expect[*wamp.Invocation](telling)
	telling.send(&wamp.Yield{Request: inv.Request})
	expect[*wamp.Result](caller)
}

func TestCancelModes(t *testing.T) {
	r := start(t, Config{})
	callee, caller := join(t, r, wsJSON), join(t, r, rsCBOR)
	callee.register("com.proc", nil)
	t.Run("skip", func(t *testing.T) {
		id := caller.call("com.proc", nil)
		expect[*wamp.Invocation](callee)
		caller.send(&wamp.Cancel{Request: id, Options: wamp.Dict{"mode": "skip"}})
		caller.failed(wamp.ErrCanceled)
		callee.sync() // no INTERRUPT
	})
	t.Run("killnowait", func(t *testing.T) {
		id := caller.call("com.proc", nil)
		inv := expect[*wamp.Invocation](callee)
		caller.send(&wamp.Cancel{Request: id})
		caller.failed(wamp.ErrCanceled)
		if i := expect[*wamp.Interrupt](callee); i.Request != inv.Request {
			t.Errorf("INTERRUPT %+v", i)
		}
		callee.send(&wamp.Error{Type: wamp.INVOCATION, Request: inv.Request, Error: wamp.ErrCanceled})
	})
	t.Run("kill", func(t *testing.T) {
		id := caller.call("com.proc", nil)
		inv := expect[*wamp.Invocation](callee)
		caller.send(&wamp.Cancel{Request: id, Options: wamp.Dict{"mode": "kill"}})
		expect[*wamp.Interrupt](callee)
		caller.send(&wamp.Cancel{Request: id, Options: wamp.Dict{"mode": "kill"}})
		callee.send(&wamp.Error{Type: wamp.INVOCATION, Request: inv.Request, Error: "com.stopped", Arguments: wamp.List{"half"}})
		wantArgs(t, caller.failed("com.stopped"), "half")
	})
	t.Run("kill with a timeout and a deaf callee", func(t *testing.T) {
		id := caller.call("com.proc", wamp.Dict{"timeout": 50})
		expect[*wamp.Invocation](callee)
		caller.send(&wamp.Cancel{Request: id, Options: wamp.Dict{"mode": "kill"}})
		expect[*wamp.Interrupt](callee)
		caller.failed(wamp.ErrTimeout)
	})
	t.Run("unknown", func(t *testing.T) {
		caller.send(&wamp.Cancel{Request: 12345})
		caller.sync()
	})
	t.Run("caller leaves", func(t *testing.T) {
		p := join(t, r, wsJSON)
		p.call("com.proc", nil)
		inv := expect[*wamp.Invocation](callee)
		p.close()
		eventually(t, "caller gone", func() bool { return r.Counters()["sessions_now"] == 2 })
		callee.send(&wamp.Yield{Request: inv.Request, Options: wamp.Dict{"progress": true}})
		if i := expect[*wamp.Interrupt](callee); i.Request != inv.Request {
			t.Errorf("INTERRUPT %+v", i)
		}
	})
}

// AutobahnJS announces progressive results but not call_canceling: nexus would give
// it no receive_progress. It must not see INTERRUPT either.
func TestProgressiveResultsWithoutCallCanceling(t *testing.T) {
	r := start(t, Config{})
	callee, caller := dial(t, r, wsJSON), join(t, r, rsCBOR)
	callee.enter(&wamp.Hello{Realm: "realm1", Details: wamp.Dict{"roles": wamp.Dict{
		"callee":    wamp.Dict{"features": wamp.Dict{"progressive_call_results": true}},
		"caller":    wamp.Dict{},
		"publisher": wamp.Dict{},
	}}})
	callee.register("com.count", nil)
	begin := func(options wamp.Dict) (call, invocation wamp.ID) {
		options["receive_progress"] = true
		call = caller.call("com.count", options)
		inv := expect[*wamp.Invocation](callee)
		if inv.Details["receive_progress"] != true {
			t.Fatalf("details %v", inv.Details)
		}
		for i := range 3 {
			callee.send(&wamp.Yield{Request: inv.Request, Options: wamp.Dict{"progress": true}, Arguments: wamp.List{i}})
			res := expect[*wamp.Result](caller)
			if res.Details["progress"] != true {
				t.Fatalf("details %v", res.Details)
			}
			wantArgs(t, res, i)
		}
		return call, inv.Request
	}
	_, inv := begin(wamp.Dict{})
	callee.send(&wamp.Yield{Request: inv, Arguments: wamp.List{"end"}})
	wantArgs(t, expect[*wamp.Result](caller), "end")

	for _, mode := range []string{"kill", "killnowait", "skip"} {
		call, inv := begin(wamp.Dict{})
		caller.send(&wamp.Cancel{Request: call, Options: wamp.Dict{"mode": mode}})
		caller.failed(wamp.ErrCanceled)
		// It does not know, and goes on.
		callee.send(&wamp.Yield{Request: inv, Options: wamp.Dict{"progress": true}, Arguments: wamp.List{9}})
		callee.send(&wamp.Yield{Request: inv, Arguments: wamp.List{10}})
		callee.sync()
		caller.sync()
	}
	begin(wamp.Dict{"timeout": 100})
	caller.failed(wamp.ErrTimeout)
	callee.sync()
}

func TestProgressNobodyAskedForIsDropped(t *testing.T) {
	r := start(t, Config{})
	callee, caller := join(t, r, wsJSON), join(t, r, wsJSON)
	callee.register("com.proc", nil)
	caller.call("com.proc", nil)
	inv := expect[*wamp.Invocation](callee)
	callee.send(&wamp.Yield{Request: inv.Request, Options: wamp.Dict{"progress": true}})
	callee.send(&wamp.Yield{Request: inv.Request, Arguments: wamp.List{1}})
	wantArgs(t, expect[*wamp.Result](caller), 1)
}

func TestProgressiveInvocations(t *testing.T) {
	r := start(t, Config{})
	callee, caller := join(t, r, wsJSON), join(t, r, rsCBOR)
	callee.register("com.sum", nil)
	id := caller.request()
	for i := range 3 {
		caller.send(&wamp.Call{Request: id, Procedure: "com.sum", Options: wamp.Dict{"progress": i < 2, "timeout": 60000}, Arguments: wamp.List{i}})
		inv := expect[*wamp.Invocation](callee)
		if (inv.Details["progress"] == true) != (i < 2) {
			t.Errorf("details %v", inv.Details)
		}
		wantArgs(t, inv, i)
		if i == 2 {
			callee.send(&wamp.Yield{Request: inv.Request, Arguments: wamp.List{3}})
		}
	}
	wantArgs(t, expect[*wamp.Result](caller), 3)
	plain := dial(t, r, wsJSON)
	plain.enter(&wamp.Hello{Realm: "realm1", Details: wamp.Dict{"roles": wamp.Dict{"callee": wamp.Dict{}}}})
	plain.register("com.plain", nil)
	caller.call("com.plain", wamp.Dict{"progress": true})
	caller.failed(wamp.ErrFeatureNotSupported)
}

func TestYieldWithWrongOptionAnswersTheCaller(t *testing.T) {
	r := start(t, Config{})
	callee, caller := join(t, r, wsJSON), join(t, r, wsJSON)
	callee.register("com.proc", nil)
	caller.call("com.proc", nil)
	inv := expect[*wamp.Invocation](callee)
	callee.text(`[70,%d,{"progress":"yes"}]`, inv.Request)
	wantArgs(t, caller.failed(wamp.ErrInvalidArgument), "the callee yielded with option progress: want a boolean")
}

func TestCallsInFlightAreBounded(t *testing.T) {
	r := start(t, Config{Limits: Limits{CallsInFlight: 3}})
	callee, caller := join(t, r, wsJSON), join(t, r, wsJSON)
	callee.register("com.proc", nil)
	for range 3 {
		caller.call("com.proc", nil)
	}
	caller.call("com.proc", nil)
	caller.failed(errTooMany)
	inv := expect[*wamp.Invocation](callee)
	callee.send(&wamp.Yield{Request: inv.Request})
	expect[*wamp.Result](caller)
	caller.call("com.proc", nil)
	for range 3 {
		expect[*wamp.Invocation](callee)
	}
}

// What a recipient cannot be sent is not lost without a word.
func TestUndeliverable(t *testing.T) {
	r := start(t, Config{})
	callee, err := connectRaw(listens(r), wire.JSON, 3, nil) // takes 4 KiB at most
	if err != nil {
		t.Fatal(err)
	}
	callee.t = t
	t.Cleanup(callee.close)
	caller := join(t, r, wsJSON)
	callee.enter(&wamp.Hello{Realm: "realm1", Details: wamp.Dict{"roles": wamp.Dict{"callee": wamp.Dict{}, "caller": wamp.Dict{}, "subscriber": wamp.Dict{}, "publisher": wamp.Dict{}}}})
	callee.register("com.proc", nil)
	callee.subscribe("com.topic", nil)
	big := make([]byte, 4000)
	caller.call("com.proc", nil, big)
	caller.failed(errTooLong)
	caller.publish("com.topic", nil, big)
	caller.register("com.big", nil)
	callee.call("com.big", nil)
	inv := expect[*wamp.Invocation](caller)
	caller.send(&wamp.Yield{Request: inv.Request, Arguments: wamp.List{big}})
	callee.failed(errTooLong)
	if n := r.Counters()["messages_undeliverable"]; n != 3 {
		t.Errorf("%d undeliverable, want 3", n)
	}
}
