package routes_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/routes"
)

func TestAnEventIsCarried(t *testing.T) {
	w := newWorld(t, map[string]string{"wamp": "wamp", "irc": "irc", "redis": "redis"})
	w.apply(
		routes.Spec{
			Name: "tractors", From: from("com.app.position"), To: []string{"irc:#tractors", "redis:positions.{{ args[0].name }}"},
			When: "args[0].speed > 10", Text: "{{ args[0].name }} is moving",
		},
		routes.Spec{Name: "raw", From: from("com.app.raw"), To: []string{"redis:raw"}},
		routes.Spec{Name: "mapped", From: from("com.app.mapped"), To: []string{"redis:mapped"}, Args: "[kwargs.a + 1, topic]", Kwargs: `{"n": len(args)}`},
	)
	s := w.systems
	s["wamp"].say("com.app.position", `[{"name": "red", "speed": 12.5}]`)
	s["wamp"].say("com.app.position", `[{"name": "blue", "speed": 3}]`)
	s["wamp"].say("com.app.position", `["no object"]`)
	s["wamp"].say("com.app.raw", `[9007199254740993, {"b": 1, "a": 1.10}]`)
	s["wamp"].spread(nil, "com.app.mapped", json.RawMessage(`[1]`), json.RawMessage(`{"a": 9007199254740993}`))
	w.eventually("all are carried", func() bool {
		return len(s["irc"].published("#tractors")) == 1 && len(s["redis"].published("positions.red")) == 1 &&
			len(s["redis"].published("raw")) == 1 && len(s["redis"].published("mapped")) == 1
	})
	if got := s["irc"].published("#tractors")[0]; got != "red is moving" {
		t.Errorf("got %q", got)
	}
	if got := s["redis"].published("raw")[0]; got != `{"args":[9007199254740993,{"b":1,"a":1.10}]}` {
		t.Errorf("got %s", got)
	}
	if got := s["redis"].published("mapped")[0]; got != `{"args":[9007199254740994,"com.app.mapped"],"kwargs":{"n":1}}` {
		t.Errorf("got %s", got)
	}
	for _, v := range w.table.Views() {
		if v.Route == "tractors" && (v.Carried != 1 || v.Filtered != 1 || v.Failed != 1 || !strings.Contains(v.LastError, "when")) {
			t.Errorf("got %+v", v)
		}
	}
}

// What has waited while a target was slow is not more at once than it takes.
func TestNothingIsRefusedThatHadRoomToWait(t *testing.T) {
	w := newWorld(t, map[string]string{"wamp": "wamp", "redis": "redis"})
	w.apply(routes.Spec{Name: "all", From: from("com.app.news"), To: []string{"redis:news"}})
	slow := w.systems["redis"]
	slow.mu.Lock()
	w.systems["wamp"].say("com.app.news", "[0]")
	w.eventually("the target is busy", func() bool { return slow.peers[0].asked.Load() == 1 })
	const waiting = 20_000
	for range waiting {
		w.systems["wamp"].say("com.app.news", "[1]")
	}
	w.eventually("the others wait", func() bool { return w.table.Views()[0].Waiting == waiting })
	slow.mu.Unlock()
	w.eventually("all are accounted for", func() bool {
		v := w.table.Views()[0]
		return v.Carried+v.Refused+v.Dropped == waiting+1
	})
	if v := w.table.Views()[0]; v.Carried != waiting+1 {
		t.Errorf("got %+v", v)
	}
}

// With every pair of four systems linked in both directions each message arrives exactly
// once on each side, in order, whoever says it.
func TestNothingGoesRound(t *testing.T) {
	names := []string{"wamp", "irc", "redis", "xmpp"}
	backends := map[string]string{}
	var addresses []core.Address
	for _, name := range names {
		backends[name] = name
		addresses = append(addresses, core.Address{Backend: name, Name: "room"})
	}
	for _, durable := range []bool{false, true} {
		t.Run(fmt.Sprintf("durable %t", durable), func(t *testing.T) {
			w := newWorld(t, backends)
			w.apply(routes.Between(routes.Spec{Name: "room", Durable: durable}, addresses, "wamp")...)
			const each = 200
			want := map[string][]string{}
			for i := range each {
				for _, name := range names {
					text := fmt.Sprintf("%s says %d", name, i)
					w.systems[name].say("room", `["`+text+`"]`)
					for _, other := range names {
						if other != name {
							want[other] = append(want[other], text)
						}
					}
				}
			}
			for _, name := range names {
				w.eventually(name+" has all", func() bool { return len(w.systems[name].published("room")) >= len(want[name]) })
			}
			if err := w.bridge.Publish(t.Context(), &core.Event{Topic: addresses[0], Payload: core.TextPayload("an app says")}); err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				w.eventually(name+" has what an app says", func() bool { return slices.Contains(w.systems[name].published("room"), "an app says") })
				var got []string
				for _, text := range w.systems[name].published("room") {
					if text != "an app says" {
						got = append(got, text)
					}
				}
				for _, other := range names { // each speaker's words in their order
					only := func(texts []string) []string {
						return slices.DeleteFunc(slices.Clone(texts), func(s string) bool { return !strings.HasPrefix(s, other+" ") })
					}
					if !slices.Equal(only(got), only(want[name])) {
						t.Fatalf("%s got from %s: %v", name, other, only(got))
					}
				}
			}
		})
	}
}

// Two backends on one system, linked in both directions: what goes round ends.
func TestTheBrakeEndsACircle(t *testing.T) {
	for _, text := range []string{"", "[relayed] {{ text }}"} {
		t.Run("text "+text, func(t *testing.T) {
			w := newWorld(t, map[string]string{"wamp": "wamp", "one": "irc", "two": "irc"})
			w.apply(
				routes.Spec{Name: "forth", From: from("one:#a"), To: []string{"two:#a"}, Text: text},
				routes.Spec{Name: "back", From: from("two:#a"), To: []string{"one:#a"}, Text: text},
			)
			w.systems["irc"].say("#a", `["hello there"]`)
			braked := func() (n int64) {
				for _, v := range w.table.Views() {
					n += v.Braked
				}
				return n
			}
			w.eventually("the brake", func() bool { return braked() >= 2 })
			before := len(w.systems["irc"].published("#a"))
			if before > 100 {
				t.Errorf("went round %d times", before)
			}
			w.systems["irc"].say("#a", `["something else"]`)
			w.eventually("other words pass", func() bool {
				return slices.ContainsFunc(w.systems["irc"].published("#a"), func(s string) bool { return strings.HasSuffix(s, "something else") })
			})
		})
	}
	// Where nothing can come back there is no brake, however often something is repeated.
	w := newWorld(t, map[string]string{"wamp": "wamp", "redis": "redis"})
	w.apply(routes.Between(routes.Spec{Name: "x"}, []core.Address{{Backend: "wamp", Name: "a"}, {Backend: "redis", Name: "a"}}, "wamp")...)
	for range 100 {
		w.systems["wamp"].say("a", `["ping"]`)
	}
	w.eventually("all pass", func() bool { return len(w.systems["redis"].published("a")) == 100 })
}

func TestADurableRouteCatchesUp(t *testing.T) {
	w := newWorld(t, map[string]string{"wamp": "wamp", "redis": "redis", "irc": "irc"})
	w.apply(
		routes.Spec{Name: "safe", From: from("orders"), To: []string{"redis:orders"}, Durable: true},
		routes.Spec{Name: "light", From: from("orders"), To: []string{"irc:#orders"}},
	)
	w.systems["redis"].setDown(true)
	w.systems["irc"].setDown(true)
	var want []string
	for i := range 50 {
		want = append(want, fmt.Sprint(i))
		w.systems["wamp"].say("orders", fmt.Sprintf("[%d]", i))
	}
	view := func(route string) routes.View {
		views := w.table.Views()
		return views[slices.IndexFunc(views, func(v routes.View) bool { return v.Route == route })]
	}
	w.eventually("the light one says what it lost", func() bool { return view("light").Refused == 50 })
	w.systems["redis"].setDown(false)
	w.eventually("the durable one catches up", func() bool { return len(w.systems["redis"].published("orders")) == 50 })
	if got := w.systems["redis"].published("orders"); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	// Without the route nothing of it stays.
	w.apply()
	if kept := w.store.kept(); len(kept) > 0 || len(w.bridge.Subscriptions("")) > 0 {
		t.Errorf("left behind: %v", kept)
	}
}

func TestProceduresAreOfferedElsewhere(t *testing.T) {
	w := newWorld(t, map[string]string{"wamp": "wamp", "irc": "irc"})
	w.apply(routes.Spec{
		Name: "weather", Procedure: from("irc:weather"), Call: core.Address{Backend: "wamp", Name: "com.app.weather"},
		Args: "[upper(args[0])]", Text: "{{ args[0].degrees }} °C in {{ args[0].city }}",
	})
	stream, err := w.systems["wamp"].peers[0].Register(t.Context(), from("com.app.weather"), core.RegisterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	go func() {
		for {
			batch, err := stream.Next(context.Background())
			if err != nil {
				return
			}
			for _, inv := range batch {
				if string(inv.Args) == `["NOWHERE"]` {
					inv.Reply(nil, &core.Error{Code: core.Application, URI: "com.app.unknown_city"})
					continue
				}
				inv.Reply(&core.Result{Payload: core.Payload{Args: json.RawMessage(`[{"degrees": 21.5, "city": "Paris"}]`)}}, nil)
			}
		}
	}()
	irc := w.systems["irc"].peers[0]
	call := func(args string) (*core.Result, error) {
		return irc.Call(t.Context(), &core.Call{Procedure: core.Address{Backend: "irc", Name: "weather"}, Payload: core.Payload{Args: json.RawMessage(args)}})
	}
	result, err := call(`["paris"]`)
	if err != nil || result.Text() != "21.5 °C in Paris" {
		t.Fatalf("got %v, %v", result, err)
	}
	if _, err := call(`["nowhere"]`); core.CodeOf(err) != core.Application {
		t.Errorf("got %v", err)
	}
	if _, err := call(`[]`); core.CodeOf(err) != core.InvalidArgument {
		t.Errorf("got %v", err)
	}
}

func TestMistakesAreFoundAtLoad(t *testing.T) {
	for _, c := range []struct {
		spec routes.Spec
		key  string
		want string
	}{
		{routes.Spec{When: "args[0].speed >"}, "when", "unexpected"},
		{routes.Spec{When: "len(args)"}, "when", "expected bool"},
		{routes.Spec{When: "speed > 1"}, "when", "unknown name speed"},
		{routes.Spec{When: "topic > 1"}, "when", "mismatched types"},
		{routes.Spec{Text: "{{ args[0] "}, "text", "there is no }}"},
		{routes.Spec{Text: "{{ nothing }}"}, "text", "unknown name nothing"},
		{routes.Spec{Args: "1"}, "args", "expected slice"},
		{routes.Spec{Kwargs: "[1]"}, "kwargs", "expected map"},
		{routes.Spec{Text: "a", Args: "[1]"}, "text", "leave args and kwargs out"},
		{routes.Spec{To: []string{"redis:"}}, "to", "has no name"},
		{routes.Spec{To: []string{"redis:{{ topicc }}"}}, "to", "unknown name topicc"},
	} {
		if c.spec.To == nil {
			c.spec.To = []string{"redis:x"}
		}
		_, err := routes.Compile(c.spec, "wamp")
		if err == nil || !strings.HasPrefix(err.Error(), c.key+": ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.spec, err)
		}
	}
	for _, text := range []string{`{{ {"a": {"b": 1}}["a"]["b"] }}`, "{{ text }}{{ topic }}", "plain", `{{"{{"}} {{ args }}`} {
		if _, err := routes.Compile(routes.Spec{To: []string{"redis:x"}, Text: text}, "wamp"); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestCircleOfProcedures(t *testing.T) {
	procedure := func(name, offered, called string) *routes.Route {
		a, _ := core.ParseAddress(called, "wamp")
		r, err := routes.Compile(routes.Spec{Name: name, Procedure: from(offered), Call: a}, "wamp")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	a, b, c := procedure("a", "irc:x", "wamp:x"), procedure("b", "wamp:x", "redis:x"), procedure("c", "redis:x", "irc:x")
	if got := routes.Circle([]*routes.Route{a, b}); got != nil {
		t.Errorf("got %v", got)
	}
	if got := routes.Circle([]*routes.Route{a, b, c}); len(got) != 3 {
		t.Errorf("got %v", got)
	}
}

func TestTry(t *testing.T) {
	r, err := routes.Compile(routes.Spec{Name: "r", From: from("com.a"), To: []string{"irc:#a", "redis:{{topic}}"}, When: "args[0] > 1", Text: "{{args[0]}}!"}, "wamp")
	if err != nil {
		t.Fatal(err)
	}
	event := func(topic, args string) *core.Event {
		return &core.Event{Topic: from(topic).Address, Payload: core.Payload{Args: json.RawMessage(args)}}
	}
	got := routes.Try([]*routes.Route{r}, event("com.a", `[2]`))
	if len(got) != 2 || got[0].Event.Text() != "2!" || got[1].Event.Topic.String() != "redis:com.a" {
		t.Errorf("got %+v", got)
	}
	if got := routes.Try([]*routes.Route{r}, event("com.a", `[1]`)); len(got) != 2 || got[0].Event != nil || got[0].Err != nil {
		t.Errorf("got %+v", got)
	}
	if got := routes.Try([]*routes.Route{r}, event("com.a", `[]`)); len(got) != 2 || got[0].Err == nil {
		t.Errorf("got %+v", got)
	}
	r, err = routes.Compile(routes.Spec{Name: "r", From: from("com.a"), To: []string{"irc:#a"}, When: "args[0]"}, "wamp")
	if err != nil {
		t.Fatal(err)
	}
	if got := routes.Try([]*routes.Route{r}, event("com.a", `["yes"]`)); len(got) != 1 || got[0].Err == nil {
		t.Errorf("got %+v", got)
	}
	if got := routes.Try([]*routes.Route{r}, event("com.b", `[2]`)); len(got) != 0 {
		t.Errorf("got %+v", got)
	}
}
