package redis_test

import (
	"bufio"
	"context"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/backends/redis/redistest"
	"github.com/anybridge/anybridge/core"
)

// listen runs redis-cli SUBSCRIBE and returns the lines it prints after it has
// subscribed.
func listen(t testing.TB, s *redistest.Server, verb, channel string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := s.Command(ctx, verb, channel)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100_000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() { cancel(); <-done; _ = cmd.Wait() })
	for range 3 { // subscribe, the channel, 1
		line(t, lines)
	}
	return lines
}

func line(t testing.TB, lines <-chan string) string {
	t.Helper()
	select {
	case l, ok := <-lines:
		if !ok {
			t.Fatal("redis-cli has ended")
		}
		return l
	case <-patient(t).Done():
		t.Fatal("nothing came")
	}
	return ""
}

func TestRedisCLIPublishes(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL())
	in := subscribe(t, b, "orders", core.Exact)
	for _, c := range []struct{ text, args, kwargs string }{
		{"hello", `["hello"]`, ""},
		{"", `[""]`, ""},
		{"42", `[42]`, ""},
		{"007", `["007"]`, ""},
		{`"quoted"`, `["\"quoted\""]`, ""},
		{"null", `["null"]`, ""},
		{`{"a":1}`, `[{"a":1}]`, ""},
		{`[1,2]`, `[[1,2]]`, ""},
		{`{"args":[9007199254740993],"kwargs":{"b":true}}`, `[9007199254740993]`, `{"b":true}`},
		{`{"kwargs":{"text":"x"}}`, ``, `{"text":"x"}`},
		{`{"args":[1],"other":2}`, `[{"args":[1],"other":2}]`, ""},
		{`{"args":{}}`, `[{"args":{}}]`, ""},
		{`{}`, `[{}]`, ""},
		{"half \xff", `["half ` + "\uFFFD" + `"]`, ""},
	} {
		if n := s.CLI("PUBLISH", "orders", c.text); n != "1" {
			t.Fatalf("PUBLISH answered %s", n)
		}
		e := take(t, in, 1)[0]
		if e.Topic != topic("orders") || string(e.Args) != c.args || string(e.Kwargs) != c.kwargs {
			t.Errorf("%q: got %s %s, want %s %s", c.text, e.Args, e.Kwargs, c.args, c.kwargs)
		}
		if e.ID == "" || e.Time.IsZero() {
			t.Errorf("%q: ID %q at %v", c.text, e.ID, e.Time)
		}
	}
}

func TestRedisCLIListens(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(), settings{"format_by_prefix": settings{"text.": "text", "json.": "json"}})
	lines := listen(t, s, "PSUBSCRIBE", "*")
	for _, c := range []struct {
		topic string
		p     core.Payload
		want  string
	}{
		{"orders", core.Payload{Args: []byte(`["a"]`), Kwargs: []byte(`{"n":1}`)}, `{"args":["a"],"kwargs":{"n":1},"id":"evt_1","from":"FROM","via":"r"}`},
		{"text.x", core.TextPayload("plain words"), "plain words"},
		{"json.x", core.Payload{Args: []byte(`[{"deep":[1]}]`)}, `{"deep":[1]}`},
	} {
		publish(t, b, &core.Event{ID: "evt_1", Topic: topic(c.topic), Payload: c.p, Via: "r"})
		for _, want := range []string{"pmessage", "*", c.topic} {
			if got := line(t, lines); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
		got := line(t, lines)
		if _, from, ok := strings.Cut(got, `"from":"`); ok {
			name, _, _ := strings.Cut(from, `"`)
			got = strings.Replace(got, name, "FROM", 1)
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.topic, got, c.want)
		}
	}
}

func TestBetweenBridges(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	a, b := open(t, s.URL()), open(t, s.URL())
	in := subscribe(t, b, "orders", core.Exact)
	e := event("orders", `["one"]`)
	e.Via = "wamp to redis"
	publish(t, a, e)
	got := take(t, in, 1)[0]
	wantArgs(t, got, "orders", `["one"]`)
	if got.Via != "wamp to redis" || !strings.Contains(string(got.Details), `"id":"`+e.ID+`"`) || got.ID == e.ID {
		t.Errorf("via %q, details %s, ID %s", got.Via, got.Details, got.ID)
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL())
	exact := subscribe(t, b, "shop.orders.new", core.Exact)
	prefix := subscribe(t, b, "shop.ord", core.Prefix)
	wild := subscribe(t, b, "shop..new", core.Wildcard)
	glob := subscribe(t, b, `a*?[b]\`, core.Prefix)
	dotPrefix := subscribe(t, b, "x.", core.Prefix)
	dotWild := subscribe(t, b, "x.", core.Wildcard) // the same glob in Redis
	for _, name := range []string{"shop.orders.new", "shop.a.b.new", "shop.ordinary", `axxbb`, `a*?[b]\c`, "x.y.z", "x.y"} {
		s.CLI("PUBLISH", name, "m")
	}
	s.CLI("PUBLISH", "shop.orders.new", `["end"]`)
	check := func(in core.Stream[*core.Event], want ...string) {
		t.Helper()
		for i, e := range take(t, in, len(want)) {
			if e.Topic.Name != want[i] {
				t.Errorf("event %d: got %s, want %s", i, e.Topic.Name, want[i])
			}
		}
	}
	check(exact, "shop.orders.new", "shop.orders.new")
	check(prefix, "shop.orders.new", "shop.ordinary", "shop.orders.new")
	check(wild, "shop.orders.new", "shop.orders.new")
	check(glob, `a*?[b]\c`)
	check(dotPrefix, "x.y.z", "x.y")
	check(dotWild, "x.y")
}

// What the backend publishes does not come back, in any format, however many of its
// subscriptions hear it.
func TestOwnMessagesDoNotComeBack(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for _, format := range []string{"envelope", "json", "text"} {
		b := open(t, s.URL(), settings{"format": format})
		streams := []core.Stream[*core.Event]{
			subscribe(t, b, "c.one", core.Exact), subscribe(t, b, "c.", core.Prefix), subscribe(t, b, ".one", core.Wildcard),
		}
		for range 1000 {
			publish(t, b, event("c.one", `["same"]`))
		}
		s.CLI("PUBLISH", "c.one", "foreign")
		want := `["foreign"]`
		for i, in := range streams {
			if e := take(t, in, 1)[0]; string(e.Args) != want {
				t.Errorf("%s: stream %d got %s", format, i, e.Args)
			}
		}
		if n := counter(t, b, "own_messages_left_out"); n != 3000 {
			t.Errorf("%s: %d of 3000 were left out", format, n)
		}
	}
}

// The same text from somebody else, at the same time, arrives as often as it was sent.
func TestTheSameTextFromAnother(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(), settings{"format": "text"})
	in := subscribe(t, b, "c", core.Exact)
	for range 20 {
		publish(t, b, event("c", `["same"]`))
		s.CLI("PUBLISH", "c", "same")
	}
	s.CLI("PUBLISH", "c", "end")
	events := take(t, in, 21)
	if len(events) != 21 || string(events[20].Args) != `["end"]` {
		t.Errorf("got %d events, the last %s", len(events), events[len(events)-1].Args)
	}
}

func TestBatchKeepsItsOrder(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	a, b := open(t, s.URL()), open(t, s.URL(), settings{"max_message": 1000})
	in := subscribe(t, a, "c", core.Exact)
	var events []*core.Event
	for i := range 500 {
		args := `[` + strings.Repeat("1", i%7+1) + `]`
		if i == 250 {
			args = `["` + strings.Repeat("x", 2000) + `"]`
		}
		events = append(events, event("c", args))
	}
	for i, err := range b.PublishBatch(patient(t), events) {
		if i == 250 {
			wantCode(t, err, core.TooLarge)
		} else if err != nil {
			t.Fatal(i, err)
		}
	}
	got := take(t, in, 499)
	for i, e := range append(events[:250:250], events[251:]...) {
		if string(got[i].Args) != string(e.Args) {
			t.Fatalf("event %d: got %s, want %s", i, got[i].Args, e.Args)
		}
	}
}
