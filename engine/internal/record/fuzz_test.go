package record_test

import (
	"bytes"
	"testing"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine/internal/record"
)

// What is read and written again is the same bytes, so reading loses nothing.

func FuzzPack(f *testing.F) {
	f.Add(record.AppendEntry(nil, &record.Entry{Event: event(), Group: 1, ID: "1", To: []record.Key{{1}, {2}}}))
	f.Add(record.AppendEntry(nil, &record.Entry{Event: &core.Event{}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := record.Pack(b)
		var again []byte
		for i := range entries {
			again = record.AppendEntry(again, &entries[i])
		}
		if err == nil && len(entries) > 0 {
			mustRead(t, b, again, func(b []byte) (any, error) { return record.Pack(b) })
		}
	})
}

func FuzzItems(f *testing.F) {
	f.Add(record.AppendItems(record.AppendItems(nil, item()), item()))
	f.Add(record.AppendItem(nil, item()))
	f.Add(record.AppendItems(nil, &record.Item{Call: &record.Call{Done: true, Err: &core.Error{Code: core.Timeout}, Endpoint: endpoint()}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if one, err := record.OneItem(b); err == nil {
			mustRead(t, b, record.AppendItem(nil, one), func(b []byte) (any, error) { return record.OneItem(b) })
		}
		items, err := record.Items(b)
		var again []byte
		for _, i := range items {
			again = record.AppendItems(again, i)
		}
		if err == nil && len(items) > 0 {
			mustRead(t, b, again, func(b []byte) (any, error) { return record.Items(b) })
		}
	})
}

func FuzzBinding(f *testing.F) {
	f.Add(record.AppendSubscription(nil, &core.Subscription{Owner: "shop", Endpoint: endpoint(), ExcludeMe: true, Created: noon}))
	f.Add(record.AppendRegistration(nil, &core.Registration{Owner: "shop", Endpoint: endpoint(), Invoke: "first", Created: noon}))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, g, err := record.Binding(b)
		switch {
		case err != nil:
		case s != nil:
			mustRead(t, b, record.AppendSubscription(nil, s), func(b []byte) (any, error) { s, _, err := record.Binding(b); return s, err })
		case g != nil:
			mustRead(t, b, record.AppendRegistration(nil, g), func(b []byte) (any, error) { _, g, err := record.Binding(b); return g, err })
		default:
			t.Error("neither a subscription nor a registration, and no error")
		}
	})
}

// mustRead compares what was read with what is read of it once more: the bytes may
// differ, as a number has several spellings, but then not twice.
func mustRead(t *testing.T, b, again []byte, read func([]byte) (any, error)) {
	t.Helper()
	if bytes.Equal(b, again) {
		return
	}
	if len(again) > len(b)+16 {
		t.Errorf("%q grew to %q", b, again)
	}
	if _, err := read(again); err != nil {
		t.Errorf("%q was written as %q: %v", b, again, err)
	}
}
