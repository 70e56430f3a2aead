package tests

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	nexus "github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

// plant is a second router, on the port of a first one that is not there yet or was
// there before.
func plant(address, routes string) string {
	return fmt.Sprintf("  plant: {kind: wamp, url: \"ws://%s/ws\", realm: realm1}\n%s", address, routes)
}

// A durable route keeps what its target is owed, over a restart of the bridge, and
// carries it in order when the target is back; the other one says what it lost.
func TestRoutesWhileTheirTargetIsAway(t *testing.T) {
	address := freeAddress(t)
	b := startBridge(t, setup{more: plant(address, `routes:
  - {name: safe, from: com.app.orders, to: plant:com.plant.orders, durable: true}
  - {name: light, from: com.app.orders, to: plant:com.plant.light, when: "args[0] % 2 == 0", text: "order {{ args[0] }}"}
`)})
	a := startApp(t, theToken)
	b.subscribe(t, object{"com.app.orders": a.view("/orders", nil)})
	component := connectNexus(t, b.WS, "json")
	var want []string
	publish := func(i int) {
		want = append(want, fmt.Sprint(i))
		if err := component.Publish("com.app.orders", wamp.Dict{"acknowledge": true}, wamp.List{i}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		publish(i)
	}
	for range 10 { // the app has them all, so the bridge has
		a.next(t, "/orders")
	}
	eventually(t, "the light route counts what it lost", func() error {
		for _, r := range b.status(t).Routes {
			if r.Name == "light" && (r.Filtered != 5 || r.Refused != 5) {
				return fmt.Errorf("light: %+v", r)
			}
		}
		return nil
	})
	if err := b.process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.waitExit(patience)
	b.launch(t)
	b.URL = b.serving(t)
	b.url = b.URL
	b.waitReady(t)

	// The other router comes up: a bridge of its own.
	other := startBridge(t, setup{wampListen: address})
	got := make(chan string, 100)
	listener := connectNexus(t, other.WS, "json")
	if err := listener.Subscribe("com.plant.orders", func(e *wamp.Event) { got <- fmt.Sprint(e.Arguments...) }, nil); err != nil {
		t.Fatal(err)
	}
	var have []string
	for len(have) < len(want) {
		select {
		case order := <-got:
			if len(have) == 0 || have[len(have)-1] != order { // at least once
				have = append(have, order)
			}
		case <-time.After(patience):
			t.Fatalf("got %v", have)
		}
	}
	if !slices.Equal(have, want) {
		t.Errorf("got %v", have)
	}
}

// A procedure of one router is offered on another, and a reload takes routes away and
// brings others.
func TestRoutesOfProceduresAndReload(t *testing.T) {
	other := startBridge(t, setup{})
	s := setup{more: fmt.Sprintf("  plant: {kind: wamp, url: \"%s\", realm: realm1}\n", other.WS)}
	before := s
	s.more += `routes:
  - {procedure: plant:com.plant.weather, call: com.app.weather, args: "[upper(args[0])]", text: "{{ args[0] }} degrees"}
  - {from: com.app.news, to: "plant:{{ topic }}.copy"}
`
	b := startBridge(t, s)
	a := startApp(t, theToken)
	b.register(t, object{"com.app.weather": a.view("/weather", func(c callback) response {
		if string(c.Args) != `["PARIS"]` {
			return response{status: http.StatusBadRequest}
		}
		return response{status: http.StatusOK, body: 21}
	})})
	far := connectNexus(t, other.WS, "json")
	ask := func() (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		result, err := far.Call(ctx, "com.plant.weather", nil, wamp.List{"paris"}, nil, nil)
		if err != nil {
			return "", err
		}
		return fmt.Sprint(result.Arguments...), nil
	}
	eventually(t, "the weather", func() error {
		said, err := ask()
		if err == nil && said != "21 degrees" {
			t.Fatalf("got %q", said)
		}
		return err
	})
	copies := make(chan string, 10)
	if err := far.Subscribe("com.app.news.copy", func(e *wamp.Event) { copies <- fmt.Sprint(e.Arguments...) }, nil); err != nil {
		t.Fatal(err)
	}
	b.publish(t, "com.app.news", object{"args": []any{"hello"}})
	select {
	case said := <-copies:
		equal(t, "what was carried", said, "hello")
	case <-time.After(patience):
		t.Fatal("nothing was carried")
	}

	b.configure(t, before)
	b.post(t, "/reload/", object{}).want(t, http.StatusOK)
	eventually(t, "the procedure is gone", func() error {
		_, err := ask()
		var rpc nexus.RPCError
		if errors.As(err, &rpc) && rpc.Err.Error == wamp.ErrNoSuchProcedure {
			return nil
		}
		return fmt.Errorf("still there: %w", err)
	})
	equal(t, "routes left", len(b.status(t).Routes), 0)

	bad := before
	bad.more += "routes:\n  - {from: com.a, to: plant:com.b, when: \"args[0] >\"}\n"
	b.configure(t, bad)
	if refused := b.post(t, "/reload/", object{}).want(t, http.StatusBadRequest); !strings.Contains(refused.Detail, "when: unexpected token") {
		t.Errorf("got %s", refused.Detail)
	}
}
