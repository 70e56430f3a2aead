package rest

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// A dead letter that is sent again arrives under the same webhook-id.
func TestReplayArrives(t *testing.T) {
	f := newFixture(t, setup{})
	var works atomic.Bool
	a := newApp(t, func(w http.ResponseWriter, _ *http.Request) {
		if !works.Load() {
			http.Error(w, "no room", http.StatusInsufficientStorage)
		}
	})
	f.want(200, "POST", "/subscribe/", `{"endpoints": {"com.shop.order": {"url": "`+a.URL+`", "retry": []}}}`)
	f.publish("evt_1", "com.shop.order")
	first := a.next(t)
	id := first.header.Get("Webhook-Id")
	eventually(t, func() bool {
		status, _ := f.do("GET", "/deliveries/"+id+"/", "")
		return status == 200
	})
	works.Store(true)
	if got := f.want(200, "POST", "/deliveries/"+id+"/replay/", ""); got != `{"replayed":["`+id+`"]}`+"\n" {
		t.Errorf("got %s", got)
	}
	if again := a.next(t); again.header.Get("Webhook-Id") != id || again.body != first.body {
		t.Errorf("got %s: %s, want %s: %s", again.header.Get("Webhook-Id"), again.body, id, first.body)
	}
	eventually(t, func() bool { return !strings.Contains(f.want(200, "GET", "/deliveries/", ""), id) })
}

// Lists go on where the former one ended, and each delivery is in one of them.
func TestDeliveriesInPages(t *testing.T) {
	f := newFixture(t, setup{})
	f.want(200, "POST", "/subscribe/", `{"endpoints": {"com.shop.order": {"url": "http://127.0.0.1:1/", "retry": []}}}`)
	want := []string{"evt_1", "evt_2", "evt_3", "evt_4", "evt_5"}
	for _, id := range want {
		f.publish(id, "com.shop.order")
	}
	eventually(t, func() bool { return f.work.Status(t.Context()).DeadLetters == int64(len(want)) })
	seen := map[string]bool{}
	after := ""
	for range 3 {
		var page DeliveriesView
		if err := json.Unmarshal([]byte(f.want(200, "GET", "/deliveries/?limit=2&after="+after, "")), &page); err != nil {
			t.Fatal(err)
		}
		for _, d := range page.Deliveries {
			id, _, _ := strings.Cut(d.ID, "_sub_")
			seen[id] = true
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if len(seen) != len(want) || after != "" {
		t.Errorf("seen %v, more after %q", seen, after)
	}
	if got := f.want(200, "POST", "/deliveries/replay/", ""); got != `{"replayed":5}`+"\n" {
		t.Errorf("got %s", got)
	}
}

// A parked endpoint shows in its subscription's health, in the status and in the
// metrics, and what it is owed can be listed.
func TestParkedEndpointsAreShown(t *testing.T) {
	f := newFixture(t, setup{})
	f.want(200, "POST", "/subscribe/", `{"endpoints": {"com.shop.order": {"url": "http://127.0.0.1:1/", "retry": ["1ms", "1ms", "1ms", "1ms", "1ms", "1ms", "1ms"]}}}`)
	f.publish("evt_1", "com.shop.order")
	eventually(t, func() bool {
		return strings.Contains(f.want(200, "GET", "/subscribe/", ""), `"parked":true,"next_probe":"2`)
	})
	for _, id := range []string{"evt_2", "evt_3"} {
		f.publish(id, "com.shop.order")
	}
	eventually(t, func() bool {
		var s Status
		if err := json.Unmarshal([]byte(f.want(200, "GET", "/status/", "")), &s); err != nil {
			t.Fatal(err)
		}
		pending, oldest := int64(0), false
		for _, l := range s.Engine.Lanes {
			pending += l.Pending
			oldest = oldest || !l.Oldest.IsZero()
		}
		return s.Engine.Parked == 1 && pending == 3 && oldest
	})
	got := f.want(200, "GET", "/metrics", "")
	if !strings.Contains(got, "anybridge_engine_endpoints_parked_now 1\n") {
		t.Errorf("metrics:\n%s", got)
	}
	eventually(t, func() bool {
		got := f.want(200, "GET", "/deliveries/?state=waiting", "")
		return strings.Contains(got, "evt_2") && strings.Contains(got, "evt_3")
	})
}

// Every counter of the engine has a metric with a text of its own.
func TestEngineCountersAreExplained(t *testing.T) {
	f := newFixture(t, setup{})
	explained := map[string]bool{
		"attempts": true, // the sum of those by outcome
		// By lane, or from the status:
		"pending_now": true, "attempts_now": true, "endpoints_now": true, "oldest_seconds_now": true,
		"stored_bytes_now": true, "stored_bytes_max_now": true,
	}
	for _, c := range append(engineCounters(), engineGauges()...) {
		explained[c.counter] = true
		if c.help == "" {
			t.Errorf("%s has no text", c.counter)
		}
	}
	eventually(t, func() bool { return f.work.Counters()["pending_now"] == 0 })
	for name := range f.work.Counters() {
		if !explained[name] {
			t.Errorf("no metric tells of %s", name)
		}
	}
}

// A body that is taken says which dead letters are meant, and nothing else.
func FuzzDecodeReplay(f *testing.F) {
	for _, body := range []string{``, `{}`, `{"token": "t", "state": "failed", "topic": "com.shop.order", "subscription": null}`, `{"state": "retrying"}`, `{"topik": 1}`, `[]`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		_, err := decodeReplay(body, 50)
		checkDecoded(t, body, core.Payload{}, err)
	})
}

// What is asked of the engine with odd names ends there.
func FuzzDeliveryIDs(f *testing.F) {
	for _, id := range []string{"evt_1_sub_f4e9df8ba0ae9f8c7dba", "a/replay", "x_sub_>", "x_sub_* ", "\x00", "ü.*.>"} {
		f.Add(id)
	}
	bridge := newFixture(f, setup{})
	f.Fuzz(func(t *testing.T, id string) {
		if _, err := bridge.work.Delivery(t.Context(), "shop", id); err == nil {
			t.Errorf("%q is there", id)
		}
		if _, _, err := bridge.work.Deliveries(t.Context(), engine.Filter{State: engine.Failed, Owner: id}); err != nil {
			t.Error(err)
		}
	})
}
