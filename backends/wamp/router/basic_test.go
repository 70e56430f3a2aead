package router

import (
	"testing"

	"github.com/gammazero/nexus/v3/wamp"
)

// Every transport carries calls and events to every other.
func TestEveryTransportTalksToEveryOther(t *testing.T) {
	r := start(t, Config{})
	for _, a := range transports() {
		for _, b := range transports() {
			t.Run(a.String()+" to "+b.String(), func(t *testing.T) {
				callee, caller := join(t, r, a), join(t, r, b)
				callee.register("com.add2", nil)
				sub := callee.subscribe("com.topic", nil)
				id := caller.call("com.add2", nil, 2, "ü\u2028", []byte{0, 255})
				inv := expect[*wamp.Invocation](callee)
				callee.send(&wamp.Yield{Request: inv.Request, Arguments: inv.Arguments})
				res := expect[*wamp.Result](caller)
				if res.Request != id {
					t.Fatalf("RESULT for %d, want %d", res.Request, id)
				}
				wantArgs(t, res, 2, "ü\u2028", "\x00AP8=")
				pub := caller.publish("com.topic", nil, 1, nil, wamp.Dict{"a": []any{}})
				ev := expect[*wamp.Event](callee)
				if ev.Subscription != sub || ev.Publication != pub {
					t.Fatalf("EVENT %+v, want subscription %d publication %d", ev, sub, pub)
				}
				wantArgs(t, ev, 1, nil, map[string]any{"a": []any{}})
				callee.send(&wamp.Goodbye{Reason: wamp.CloseNormal, Details: wamp.Dict{}})
				if g := expect[*wamp.Goodbye](callee); g.Reason != wamp.CloseGoodbyeAndOut {
					t.Fatalf("GOODBYE %s", g.Reason)
				}
				if last := callee.ended(); last != nil {
					t.Fatalf("%v after GOODBYE", last.MessageType())
				}
				caller.close()
				callee.close()
				eventually(t, "sessions gone", func() bool { return r.Counters()["sessions_now"] == 0 })
			})
		}
	}
}
