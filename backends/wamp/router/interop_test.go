package router

import (
	"context"
	"errors"
	"io"
	"log"
	"testing"

	nexusclient "github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/transport/serialize"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gammazero/nexus/v3/wamp/crsign"
)

// The client that nexus ships works as it does with its own router.
func TestNexusClient(t *testing.T) {
	r := start(t, Config{Principals: map[string]Principal{
		"tick":   {Ticket: "s3cret", Allow: []string{"*"}},
		"cra":    {Secret: "s3cret", Allow: []string{"*"}},
		"salted": {Secret: "s3cret", Salt: "pepper", Allow: []string{"*"}},
	}})
	quiet := log.New(io.Discard, "", 0)
	ws, rs := r.URLs()[0], "tcp"+r.URLs()[1][len("rs"):]
	for name, ser := range map[string]serialize.Serialization{"json": serialize.JSON, "msgpack": serialize.MSGPACK, "cbor": serialize.CBOR} {
		for _, url := range []string{ws, rs} {
			t.Run(name+" "+url[:3], func(t *testing.T) {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				connect := func(more nexusclient.Config) *nexusclient.Client {
					t.Helper()
					more.Realm, more.Serialization, more.Logger, more.ResponseTimeout = "realm1", ser, quiet, patience
					c, err := nexusclient.ConnectNet(ctx, url, more)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = c.Close() })
					return c
				}
				callee, caller := connect(nexusclient.Config{}), connect(nexusclient.Config{})
				err := callee.Register("com.add2", func(_ context.Context, inv *wamp.Invocation) nexusclient.InvokeResult {
					a, _ := wamp.AsInt64(inv.Arguments[0])
					b, _ := wamp.AsInt64(inv.Arguments[1])
					if a == 0 {
						return nexusclient.InvokeResult{Err: "com.zero", Args: wamp.List{"no"}}
					}
					return nexusclient.InvokeResult{Args: wamp.List{a + b}, Kwargs: inv.ArgumentsKw}
				}, nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := caller.Call(ctx, "com.add2", nil, wamp.List{2, 3}, wamp.Dict{"k": "v"}, nil)
				if err != nil {
					t.Fatal(err)
				}
				if n, _ := wamp.AsInt64(res.Arguments[0]); n != 5 || res.ArgumentsKw["k"] != "v" {
					t.Errorf("%+v", res)
				}
				var rpcErr nexusclient.RPCError
				if _, err = caller.Call(ctx, "com.add2", nil, wamp.List{0, 3}, nil, nil); !errors.As(err, &rpcErr) || rpcErr.Err.Error != "com.zero" {
					t.Errorf("error %v", err)
				}

				err = callee.Register("com.progress", func(ctx context.Context, _ *wamp.Invocation) nexusclient.InvokeResult {
					for i := range 3 {
						if err := callee.SendProgress(ctx, wamp.List{i}, nil); err != nil {
							return nexusclient.InvokeResult{Err: "com.no_progress"}
						}
					}
					return nexusclient.InvokeResult{Args: wamp.List{"end"}}
				}, nil)
				if err != nil {
					t.Fatal(err)
				}
				steps := 0
				res, err = caller.Call(ctx, "com.progress", nil, nil, nil, func(*wamp.Result) { steps++ })
				if err != nil || steps != 3 || res.Arguments[0] != "end" {
					t.Errorf("%+v %v after %d steps", res, err, steps)
				}

				events := make(chan *wamp.Event, 10)
				if err := callee.SubscribeChan("com.topic", events, wamp.Dict{"match": "prefix"}); err != nil {
					t.Fatal(err)
				}
				if err := caller.Publish("com.topic.a", wamp.Dict{"acknowledge": true, "disclose_me": true}, wamp.List{"x"}, nil); err != nil {
					t.Fatal(err)
				}
				ev := <-events
				if ev.Arguments[0] != "x" || ev.Details["topic"] == nil || ev.Details["publisher"] == nil {
					t.Errorf("%+v", ev)
				}
				if err := callee.Unsubscribe("com.topic"); err != nil {
					t.Error(err)
				}
				if err := callee.Unregister("com.add2"); err != nil {
					t.Error(err)
				}

				for authid, auth := range map[string]struct {
					method string
					answer nexusclient.AuthFunc
				}{
					"tick": {"ticket", func(*wamp.Challenge) (string, wamp.Dict) { return "s3cret", wamp.Dict{} }},
					"cra": {"wampcra", func(c *wamp.Challenge) (string, wamp.Dict) {
						return crsign.RespondChallenge("s3cret", c, nil), wamp.Dict{}
					}},
					"salted": {"wampcra", func(c *wamp.Challenge) (string, wamp.Dict) {
						return crsign.RespondChallenge("s3cret", c, nil), wamp.Dict{}
					}},
				} {
					c := connect(nexusclient.Config{HelloDetails: wamp.Dict{"authid": authid}, AuthHandlers: map[string]nexusclient.AuthFunc{auth.method: auth.answer}})
					if got := c.RealmDetails()["authid"]; got != authid {
						t.Errorf("authid %v, want %s", got, authid)
					}
				}
			})
		}
	}
}
