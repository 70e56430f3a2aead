package engine

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine/internal/record"
	"github.com/anybridge/anybridge/engine/internal/store"
)

// endpointOfDelivery is the endpoint in a delivery's ID, or "*".
func endpointOfDelivery(id string) string {
	if i := strings.LastIndex(id, "_sub_"); i >= 0 {
		return id[i+1:]
	}
	return "*"
}

// find looks for a dead letter or a delivery with a time of its own.
func (e *Engine) find(ctx context.Context, owner, id string) (*record.Item, *store.Msg, State, error) {
	to := endpointOfDelivery(id)
	for _, place := range []struct {
		stream, subject string
		state           State
	}{
		{store.Dead, e.deadSubject(to, id), Failed},
		{store.Later, e.store.Subject(store.Later, "*", to, idToken(id)), Retrying},
	} {
		m, err := e.store.Next(ctx, place.stream, place.subject, 1)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, nil, "", storeError(err, "look for the delivery")
		}
		item, err := record.OneItem(m.Data)
		if err != nil || owner != "" && item.Owner != owner || item.ID != id || item.Call != nil && !item.Call.Done {
			continue
		}
		return item, m, place.state, nil
	}
	return nil, nil, "", core.Errorf(core.NotFound, "no delivery %s is kept: it is delivered, still waits for its first attempt, or never was", id)
}

// Delivery returns one delivery of the owner ("" for anybody's) that has failed or
// is retried, with its payload.
func (e *Engine) Delivery(ctx context.Context, owner, id string) (*Delivery, error) {
	item, m, state, err := e.find(ctx, owner, id)
	if err != nil {
		return nil, err
	}
	d := viewOf(item, m, state)
	return &d, nil
}

// Deliveries lists deliveries, in the order in which they came to the state, and
// returns where the next list begins ("" at the end).
func (e *Engine) Deliveries(ctx context.Context, f Filter) (list []Delivery, next string, err error) {
	if f.Limit <= 0 {
		f.Limit = 100
	}
	list = []Delivery{}
	stream := map[State]string{Waiting: store.Backlog, Retrying: store.Later, Failed: store.Dead}[f.State]
	if stream == "" {
		return nil, "", core.Errorf(core.InvalidArgument, "state %q: want waiting, retrying or failed", f.State)
	}
	last := uint64(0)
	at, err := e.scan(ctx, stream, f, maxScan, func(item *record.Item, m *store.Msg) bool {
		if item.Call != nil && !item.Call.Done {
			return true // a call under way
		}
		if len(list) >= f.Limit && last != m.Seq {
			return false // a pack is listed whole: lists go on at packs
		}
		list, last = append(list, viewOf(item, m, f.State)), m.Seq
		return true
	})
	if at > 0 {
		next = strconv.FormatUint(at, 10)
	}
	return list, next, err
}

// maxScan is how many messages one list looks at. There may be more of others than
// of the one who asks: then the list is short, and says where the next one begins.
const maxScan = 10_000

// scan calls each for the items of a stream that the filter means, until it returns
// false or most messages (0: all) have been looked at. It returns after which message
// the next scan has to begin, 0 at the end.
func (e *Engine) scan(ctx context.Context, stream string, f Filter, most int, each func(*record.Item, *store.Msg) bool) (next uint64, err error) {
	to := f.Subscription
	if to == "" {
		to = "*"
	}
	subject := map[string]string{
		store.Backlog: e.store.Subject(store.Backlog, "*", to),
		store.Later:   e.store.Subject(store.Later, "*", to, "*"),
		store.Dead:    e.store.Subject(store.Dead, to, "*"),
	}[stream]
	after := uint64(0)
	if f.After != "" {
		if after, err = strconv.ParseUint(f.After, 10, 64); err != nil {
			return 0, core.Errorf(core.InvalidArgument, "after: want what a former list ended with")
		}
	}
	end, err := e.store.Size(ctx, stream)
	if err != nil {
		return 0, storeError(err, "list deliveries")
	}
	settled := settledBacklogs{e: e, windows: map[string]*window{}}
	for looked := 0; after < end.Last; looked++ {
		if most > 0 && looked >= most {
			return after, nil
		}
		m, err := e.store.Next(ctx, stream, subject, after+1)
		if errors.Is(err, store.ErrNotFound) {
			return 0, nil
		}
		if err != nil {
			return 0, storeError(err, "list deliveries")
		}
		before := after
		after = m.Seq
		items, err := itemsOf(stream, m.Data)
		if err != nil {
			continue // said where it is read for delivery
		}
		for i, item := range items {
			if f.Owner != "" && item.Owner != f.Owner || f.Topic.Name != "" && (item.Event == nil || item.Event.Topic != f.Topic) ||
				stream == store.Backlog && settled.is(ctx, m, i, len(items)) {
				continue
			}
			if !each(item, m) {
				return before, nil
			}
		}
	}
	return 0, nil
}

// settledBacklogs tells what of the backlogs on the disk is settled, as far as that
// has been written down.
type settledBacklogs struct {
	e       *Engine
	windows map[string]*window // by the backlog's subject
}

func (b *settledBacklogs) is(ctx context.Context, m *store.Msg, i, count int) bool {
	w := b.windows[m.Subject]
	if w == nil {
		w = &window{}
		b.windows[m.Subject] = w
		tokens := b.e.store.Tokens(store.Backlog, m.Subject)
		var saved savedEndpoint
		kept, err := b.e.store.Last(ctx, store.Cursors, b.e.store.Subject(store.Cursors, tokens...))
		if err == nil && json.Unmarshal(kept.Data, &saved) == nil {
			w.resume(saved.Cursor, math.MaxUint64)
		}
	}
	bits := w.resumed[m.Seq]
	return m.Seq <= w.floor || len(bits) == (count+63)/64 && bits[i/64]&(1<<(i%64)) != 0
}

func itemsOf(stream string, data []byte) ([]*record.Item, error) {
	if stream == store.Backlog {
		return record.Items(data)
	}
	item, err := record.OneItem(data)
	return []*record.Item{item}, err
}

func viewOf(item *record.Item, m *store.Msg, state State) Delivery {
	d := Delivery{
		ID: item.ID, Owner: item.Owner, State: state, Created: item.Created, Attempts: item.Attempts, Reason: item.Reason, Died: item.Died,
	}
	if !isResult(item.To) {
		d.Subscription = item.To
	}
	if state == Retrying {
		d.Next = headerTime(m, headerNext)
	}
	for _, t := range item.Tries {
		d.Tries = append(d.Tries, Try(t))
	}
	if item.Event != nil {
		d.Address, d.Payload = item.Event.Topic, item.Event.Payload
	} else {
		d.Address, d.Payload = item.Call.Procedure, item.Call.Result
		if item.Call.Err != nil {
			d.Payload = item.Call.Err.Payload
		}
	}
	return d
}

// Status tells how the engine is doing.
func (e *Engine) Status(ctx context.Context) Status {
	s := Status{Store: "embedded", Connected: e.store.Connected(), Durability: e.o.Durability}
	if e.o.URL != "" {
		s.Store = redactURLs(e.o.URL)
	}
	s.Bytes, s.MaxBytes = e.store.Used()
	if size, err := e.store.Size(ctx, store.Dead); err == nil {
		s.DeadLetters = int64(size.Messages)
	}
	for _, l := range e.lanes {
		if snap := l.snapshot.Load(); snap != nil {
			s.Lanes = append(s.Lanes, snap.LaneStatus)
			s.Parked += snap.parked
			s.Disabled += snap.disabled
			continue
		}
		s.Lanes = append(s.Lanes, LaneStatus{Lane: l.n, Owner: e.leases.owner(l.n)})
	}
	return s
}

// redactURLs leaves out user names and passwords.
func redactURLs(urls string) string {
	list := strings.Split(urls, ",")
	for i, u := range list {
		if at := strings.LastIndex(u, "@"); at >= 0 {
			scheme, _, _ := strings.Cut(u, "://")
			u = scheme + "://" + u[at+1:]
		}
		list[i] = strings.TrimSpace(u)
	}
	return strings.Join(list, ",")
}
