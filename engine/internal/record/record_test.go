package record_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine/internal/record"
)

var (
	noon    = time.Date(2026, 5, 1, 12, 0, 0, 123456789, time.UTC)
	address = core.Address{Backend: "wamp", Name: "com.shop.order"}
	payload = core.Payload{Args: json.RawMessage(`[1,"é"]`), Kwargs: json.RawMessage(`{"n":9007199254740993}`)}
)

func event() *core.Event {
	return &core.Event{ID: "4711", Topic: address, Payload: payload, Time: noon.Local(), Details: json.RawMessage(`{"publisher":1}`)}
}

// endpoint has every field set.
func endpoint() core.Endpoint {
	return core.Endpoint{
		URL: "https://app.test/hook?key=1", Timeout: 3 * time.Second, Keys: []core.Secret{core.Secret("current"), core.Secret("former")},
		Ordered: true, Concurrency: 7, Rate: 0.25, Retry: []time.Duration{time.Second, 0, time.Hour},
	}
}

func item() *record.Item {
	return &record.Item{
		ID: "4711_sub_0123", Owner: "shop", To: "sub_0123", Created: noon.Local(), Attempts: 3,
		Tries:  []record.Try{{At: noon.Local(), Status: 503, Latency: time.Millisecond, Error: "busy", Answer: "<html>"}, {Error: "refused"}},
		Event:  event(),
		Reason: "the attempts are used up", Died: noon.Add(time.Hour).Local(),
	}
}

func mustEqual(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read\n%+v\nwant\n%+v", got, want)
	}
}

func TestPackKeepsEveryEntry(t *testing.T) {
	want := []record.Entry{
		{Event: event(), Group: math.MaxUint64, ID: "4711", To: []record.Key{{1, 2}, {3}}},
		{Event: &core.Event{}, To: []record.Key{}},
		{Event: &core.Event{ID: "x", Topic: address}, Group: 1, ID: "y", To: []record.Key{{9: 9}}},
	}
	one := record.AppendEntry(nil, &want[0])
	two := record.AppendEntry(record.AppendEntry(nil, &want[1]), &want[2])
	got, err := record.Pack(record.JoinPacks(record.JoinPacks(nil, one), two))
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, got, want)
}

func TestItemKeepsEveryField(t *testing.T) {
	results := item()
	results.Event, results.Call = nil, &record.Call{
		Procedure: address, Endpoint: endpoint(), Done: true, Result: payload, Details: []byte(`{"x":1}`),
	}
	refused := item()
	refused.Event, refused.Call = nil, &record.Call{
		Procedure: address, Done: true, Err: &core.Error{Code: core.Application, Message: "no", URI: "com.no", Payload: payload},
	}
	running := &record.Item{ID: "call_1", Call: &record.Call{Procedure: address, Endpoint: core.Endpoint{Retry: []time.Duration{}}}}
	all := []*record.Item{item(), results, refused, running}
	var many []byte
	for _, want := range all {
		got, err := record.OneItem(record.AppendItem(nil, want))
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, got, want)
		many = record.AppendItems(many, want)
	}
	got, err := record.Items(many)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, got, all)
}

func TestBindingKeepsEveryField(t *testing.T) {
	for _, want := range []*core.Subscription{
		{Owner: "shop", Pattern: core.Pattern{Address: address, Match: core.Prefix}, Endpoint: endpoint(), ExcludeMe: true, Created: noon.Local()},
		{Endpoint: core.Endpoint{Retry: []time.Duration{}}},
		{},
	} {
		got, none, err := record.Binding(record.AppendSubscription(nil, want))
		if err != nil || none != nil {
			t.Fatal(none, err)
		}
		mustEqual(t, got, want)
	}
	want := &core.Registration{Owner: "shop", Pattern: core.Pattern{Address: address, Match: core.Wildcard}, Endpoint: endpoint(), Invoke: "roundrobin", Created: noon.Local()}
	none, got, err := record.Binding(record.AppendRegistration(nil, want))
	if err != nil || none != nil {
		t.Fatal(none, err)
	}
	mustEqual(t, got, want)
}

// TestEveryFieldIsKept finds the field that somebody adds and forgets to write down.
func TestEveryFieldIsKept(t *testing.T) {
	s, _, err := record.Binding(record.AppendSubscription(nil, &core.Subscription{
		Owner: "o", Pattern: core.Pattern{Address: address, Match: core.Exact}, Endpoint: endpoint(), ExcludeMe: true, Created: noon,
	}))
	if err != nil {
		t.Fatal(err)
	}
	i, err := record.OneItem(record.AppendItem(nil, item()))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{*s, s.Endpoint, *i, i.Tries[0], *i.Event} {
		elsewhere := map[string]bool{ // set before an event is stored, or the other one of two
			"Origin": true, "ExcludeMe": true, "Options": true, "Withheld": true, "Call": true,
			"Via": true, "Gap": true, "Volatile": true, // what has these is not stored
		}
		r := reflect.ValueOf(v)
		for n := range r.NumField() {
			name := r.Type().Field(n).Name
			if r.Field(n).IsZero() && !elsewhere[name] {
				t.Errorf("%s.%s is not written down", r.Type(), name)
			}
		}
	}
}

func TestBindingSharesNoMemory(t *testing.T) {
	b := record.AppendSubscription(nil, &core.Subscription{Endpoint: endpoint()})
	s, _, err := record.Binding(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	mustEqual(t, s.Endpoint.Keys, endpoint().Keys)
}

func TestItemsOfAnyContentComeBack(t *testing.T) {
	back := func(id, owner, to, reason, url string, args, kwargs []byte, attempts uint16, status int, latency int64, rate float64) bool {
		raw := func(b []byte) json.RawMessage {
			if len(b) == 0 {
				return nil
			}
			return b
		}
		want := &record.Item{
			ID: id, Owner: owner, To: to, Reason: reason, Attempts: int(attempts),
			Tries: []record.Try{{Status: status, Latency: time.Duration(latency), Error: reason}},
			Call: &record.Call{
				Done: true, Result: core.Payload{Args: raw(args), Kwargs: raw(kwargs)}, Endpoint: core.Endpoint{URL: url, Rate: rate, Timeout: time.Duration(latency)},
			},
		}
		got, err := record.OneItem(record.AppendItem(nil, want))
		if err != nil {
			t.Error(err)
		}
		same := string(got.Call.Result.Args) == string(args) && string(got.Call.Result.Kwargs) == string(kwargs)
		return same && reflect.DeepEqual(got.Call.Endpoint, want.Call.Endpoint) && reflect.DeepEqual(got.Tries, want.Tries) && got.ID == want.ID &&
			got.Owner == want.Owner && got.To == want.To && got.Reason == want.Reason && got.Attempts == want.Attempts
	}
	if err := quick.Check(back, nil); err != nil {
		t.Error(err)
	}
}

func TestTriesRememberTheFirstAndTheLast(t *testing.T) {
	i := &record.Item{}
	for n := range 100 {
		i.Tried(record.Try{Status: n})
	}
	if i.Attempts != 100 || len(i.Tries) != record.MaxTries {
		t.Fatalf("%d attempts, %d remembered", i.Attempts, len(i.Tries))
	}
	if i.Tries[0].Status != 0 || i.Tries[1].Status != 85 || i.Tries[15].Status != 99 {
		t.Errorf("tries = %v", i.Tries)
	}
}

func TestKeyIsTheSubscriptionsID(t *testing.T) {
	id := (&core.Subscription{Owner: "a", Pattern: core.Pattern{Address: address}}).ID()
	if k, ok := record.KeyOf(id); !ok || k.ID() != id {
		t.Errorf("KeyOf(%q) = %v, %v", id, k, ok)
	}
	for _, other := range []string{"", "sub_", "reg_" + id[4:], id + "0", id[:len(id)-1], "sub_" + strings.Repeat("x", 20), "res_" + id[4:]} {
		if _, ok := record.KeyOf(other); ok {
			t.Errorf("KeyOf(%q) succeeds", other)
		}
	}
}

func TestWhatIsWholeOfABrokenRecordComesBack(t *testing.T) {
	entry := record.Entry{Event: event(), ID: "1", To: []record.Key{{1}}}
	pack := record.AppendEntry(nil, &entry)
	first := len(pack)
	pack = record.AppendEntry(pack, &entry)
	items := record.AppendItems(nil, item())
	firstItem := len(items)
	items = record.AppendItems(items, item())
	for n := range pack {
		got, err := record.Pack(pack[:n])
		want := min(1, n/first)
		if whole := n == first || n == 1; len(got) != want || (err == nil) != whole || err != nil && !errors.Is(err, record.ErrMalformed) {
			t.Fatalf("%d of %d bytes of a pack: %d entries, %v", n, len(pack), len(got), err)
		}
	}
	for n := range items {
		got, err := record.Items(items[:n])
		want := min(1, n/firstItem)
		if whole := n == firstItem || n == 1; len(got) != want || (err == nil) != whole || err != nil && !errors.Is(err, record.ErrMalformed) {
			t.Fatalf("%d of %d bytes of items: %d items, %v", n, len(items), len(got), err)
		}
	}
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	const runs = 100
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / runs
}

func TestCountsThatLieAllocateLittle(t *testing.T) {
	lie := []byte{0xff, 0xff, 0xff, 0xff, 0x07} // a varint of two thousand million
	for name, b := range map[string][]byte{
		"pack":    append(append([]byte("P01234567"), make([]byte, 9)...), lie...),
		"item":    append([]byte{'I', 0, 0, 0, 0, 0}, lie...),
		"items":   append([]byte{'J', 0, 0, 0, 0, 0}, lie...),
		"binding": append([]byte{'S', 0, 0, 0, 0, 0, 0}, lie...),
	} {
		n := allocated(func() {
			_, _ = record.Pack(b)
			_, _ = record.OneItem(b)
			_, _ = record.Items(b)
			_, _, _ = record.Binding(b)
		})
		if n > 2000 {
			t.Errorf("%s: %d bytes allocated for %d", name, n, len(b))
		}
	}
}

func TestAnythingElseIsMalformed(t *testing.T) {
	for _, b := range [][]byte{nil, {}, {0}, []byte("X"), bytes.Repeat([]byte{0xff}, 100)} {
		_, packErr := record.Pack(b)
		_, itemErr := record.OneItem(b)
		_, itemsErr := record.Items(b)
		_, _, bindingErr := record.Binding(b)
		for _, err := range []error{packErr, itemErr, itemsErr, bindingErr} {
			if !errors.Is(err, record.ErrMalformed) {
				t.Errorf("%q: %v", b, err)
			}
		}
	}
}
