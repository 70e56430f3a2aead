package redis_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/anybridge/anybridge/backends/redis/redistest"
	"github.com/anybridge/anybridge/core"
)

func streams(more settings) settings {
	one := settings{"consumer": "c1"}
	for k, v := range more {
		one[k] = v
	}
	return settings{"streams": settings{"orders": one}}
}

func TestStreamBothWays(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(), streams(nil))
	in := subscribe(t, b, "orders", core.Exact)
	prefix := subscribe(t, b, "ord", core.Prefix)
	s.CLI("XADD", "orders", "*", "text", "hello")
	s.CLI("XADD", "orders", "*", "color", "red", "size", "5")
	s.CLI("XADD", "orders", "*", "args", `[1,"a"]`, "kwargs", `{"b":2}`, "via", "r", "from", "someone")
	s.CLI("XADD", "orders", "*", "args", `{"no":"list"}`)
	s.CLI("XADD", "orders", "*", "json", `[1]`)
	s.CLI("PUBLISH", "orders", "on the channel of that name")
	own := event("orders", `["own"]`)
	publish(t, b, own)
	if !strings.HasPrefix(own.ID, "orders/") {
		t.Errorf("ID %s", own.ID)
	}
	if got := s.CLI("XRANGE", "orders", "-", "+"); !strings.HasSuffix(got, "\nargs\n[\"own\"]\nfrom\nanybridge") {
		t.Errorf("the stream holds %s", got)
	}
	s.CLI("XADD", "orders", "*", "text", "end")
	for _, stream := range []core.Stream[*core.Event]{in, prefix} {
		var got []string
		for _, e := range take(t, stream, 6) {
			got = append(got, string(e.Args)+string(e.Kwargs)+e.Via)
		}
		want := []string{`{"text":"hello"}`, `{"color":"red","size":"5"}`, `[1,"a"]{"b":2}r`, `{"args":"{\"no\":\"list\"}"}`, `[[1]]`, `{"text":"end"}`}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	wait(t, in)
	wait(t, prefix)
	noPending(t, s)
}

// wait has the stream asked for more, as the host does when it has taken charge.
func wait(t testing.TB, in core.Stream[*core.Event]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if events, err := next(t, ctx, in); err == nil {
		t.Errorf("got %s %s", events[0].Args, events[0].Kwargs)
	}
}

func noPending(t testing.TB, s *redistest.Server) {
	t.Helper()
	redistest.Eventually(t, "everything is acknowledged", func() bool {
		return strings.HasPrefix(s.CLI("XPENDING", "orders", "anybridge"), "0\n")
	})
}

// Entries that nobody has taken charge of come again after a restart, then what was added
// meanwhile; nothing is lost and nothing acknowledged comes twice.
func TestStreamResumes(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "appendonly yes", "appendfsync always")
	b := open(t, s.URL(), streams(nil))
	in := subscribe(t, b, "orders", core.Exact)
	for i := range 10 {
		s.CLI("XADD", "orders", "*", "n", strconv.Itoa(i))
	}
	take(t, in, 10)
	wait(t, in)
	noPending(t, s)
	for i := 10; i < 20; i++ {
		s.CLI("XADD", "orders", "*", "n", strconv.Itoa(i))
	}
	var last []*core.Event // not asked for more after these
	for got := 0; got < 10; got += len(last) {
		var err error
		if last, err = next(t, patient(t), in); err != nil {
			t.Fatal(err)
		}
	}
	closeBackend(t, b)
	s.Kill()
	s.Start()
	s.CLI("XADD", "orders", "*", "n", "20")

	b = open(t, s.URL(), streams(nil))
	in = subscribe(t, b, "orders", core.Exact)
	for i, e := range take(t, in, len(last)+1) {
		if want := fmt.Sprintf(`{"n":"%d"}`, 20-len(last)+i); string(e.Kwargs) != want {
			t.Errorf("got %s, want %s", e.Kwargs, want)
		}
	}
	wait(t, in)
	noPending(t, s)
}

// The server is killed while entries are read: the subscription goes on by itself and
// reports no gap.
func TestStreamOverAKill(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "appendonly yes", "appendfsync always")
	b := open(t, s.URL(), streams(nil))
	in := subscribe(t, b, "orders", core.Exact)
	seen := map[string]int{}
	for i := range 30 {
		if i%10 == 5 {
			s.Kill()
			s.Start()
		}
		s.CLI("XADD", "orders", "*", "n", strconv.Itoa(i))
	}
	for len(seen) < 30 {
		events, err := next(t, patient(t), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Gap != nil {
				t.Fatalf("gap %+v", e.Gap)
			}
			seen[e.ID]++
		}
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
	wait(t, in)
	noPending(t, s)
}

func TestStreamClaimsFromTheDead(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.CLI("XGROUP", "CREATE", "orders", "anybridge", "0", "MKSTREAM")
	s.CLI("XADD", "orders", "*", "n", "1")
	s.CLI("XADD", "orders", "*", "n", "2")
	s.CLI("XREADGROUP", "GROUP", "anybridge", "dead", "STREAMS", "orders", ">")
	b := open(t, s.URL(), streams(settings{"claim_after": "300ms"}))
	in := subscribe(t, b, "orders", core.Exact)
	events := take(t, in, 2)
	if string(events[0].Kwargs) != `{"n":"1"}` || string(events[1].Kwargs) != `{"n":"2"}` {
		t.Errorf("got %s, %s", events[0].Kwargs, events[1].Kwargs)
	}
	time.Sleep(time.Second) // while they are not acknowledged they are claimed again, and left out
	wait(t, in)
	noPending(t, s)
}

func TestStreamStartsWithAll(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.CLI("XADD", "k", "*", "n", "1")
	b := open(t, s.URL(), streams(settings{"start": "all", "key": "k", "group": "g"}))
	in := subscribe(t, b, "orders", core.Exact)
	if e := take(t, in, 1)[0]; string(e.Kwargs) != `{"n":"1"}` {
		t.Errorf("got %s", e.Kwargs)
	}
}

func TestStreamIsTrimmed(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "stream-node-max-entries 10")
	b := open(t, s.URL(), streams(settings{"maxlen": 100}))
	for range 500 {
		publish(t, b, event("orders", `[1]`))
	}
	if n, _ := strconv.Atoi(s.CLI("XLEN", "orders")); n < 100 || n > 120 {
		t.Errorf("the stream has %d entries", n)
	}
}

// Entries that were trimmed while they were pending are reported as lost.
func TestStreamTrimmedWhilePending(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.CLI("XGROUP", "CREATE", "orders", "anybridge", "0", "MKSTREAM")
	for range 5 {
		s.CLI("XADD", "orders", "*", "n", "1")
	}
	s.CLI("XREADGROUP", "GROUP", "anybridge", "c1", "STREAMS", "orders", ">")
	s.CLI("XTRIM", "orders", "MAXLEN", "2")
	b := open(t, s.URL(), streams(nil))
	in := subscribe(t, b, "orders", core.Exact)
	lost, events := int64(0), 0
	for lost < 3 || events < 2 {
		batch, err := next(t, patient(t), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range batch {
			if e.Gap != nil {
				lost += e.Gap.Lost
			} else {
				events++
			}
		}
	}
	if lost != 3 || events != 2 {
		t.Errorf("%d lost, %d events", lost, events)
	}
	wait(t, in)
	noPending(t, s)
}

// A stream and its group that have gone are made anew.
func TestStreamFlushed(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(), streams(nil))
	in := subscribe(t, b, "orders", core.Exact)
	s.CLI("FLUSHALL")
	s.CLI("XADD", "orders", "*", "n", "1")
	if e := take(t, in, 1)[0]; string(e.Kwargs) != `{"n":"1"}` {
		t.Errorf("got %s", e.Kwargs)
	}
}

// Many entries, more than fit into the queue: the reader waits, nothing is dropped.
func TestStreamBackpressure(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(), streams(nil), settings{"max_queued_events": 10})
	in := subscribe(t, b, "orders", core.Exact)
	s.CLI("EVAL", `for i=1,20000 do redis.call('XADD','orders','*','n',i) end`, "0")
	for i, e := range take(t, in, 20000) {
		if want := fmt.Sprintf(`{"n":"%d"}`, i+1); string(e.Kwargs) != want {
			t.Fatalf("event %d: got %s", i, e.Kwargs)
		}
	}
	wait(t, in)
	noPending(t, s)
}
