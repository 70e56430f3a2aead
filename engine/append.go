package engine

import (
	"context"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine/internal/record"
	"github.com/anybridge/anybridge/engine/internal/store"
)

// groupOf is a number for a pattern, the same on every bridge.
func groupOf(p core.Pattern) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(string(p.Match) + "\x00" + p.Address.String()))
	return h.Sum64()
}

// laneOf is the lane of all subscriptions to a pattern.
func (e *Engine) laneOf(p core.Pattern) int {
	return int(groupOf(p) % uint64(len(e.lanes)))
}

// maxRecipients bounds the recipients in one entry; more are split.
const maxRecipients = 4096

// Deliver implements core.Deliverer.
func (e *Engine) Deliver(ctx context.Context, owed []core.Owed) error {
	if e.closing.Load() {
		return core.Errorf(core.Unavailable, "the bridge is shutting down")
	}
	if e.room.last.Load() {
		return noRoom()
	}
	var all []*append1 // in order
	total := 0
	for _, o := range owed {
		p := o.To[0].Pattern
		n := e.laneOf(p)
		for to := o.To; len(to) > 0; {
			some := to[:min(len(to), maxRecipients)]
			to = to[len(some):]
			entry := record.Entry{Event: o.Event, Group: groupOf(p), ID: o.ID, To: make([]record.Key, len(some))}
			for i, s := range some {
				entry.To[i], _ = record.KeyOf(s.ID())
			}
			var err error
			if all, err = e.pack(all, n, &entry); err != nil {
				return err
			}
			total += len(some)
		}
	}
	for _, a := range all {
		a.done = make(chan error, 1)
		select {
		case e.appenders[a.lane].in <- a:
		case <-ctx.Done():
			return storeError(ctx.Err(), "store the delivery")
		case <-e.ctx.Done():
			return core.Errorf(core.Unavailable, "the bridge is shutting down")
		}
	}
	for _, a := range all {
		select {
		case err := <-a.done:
			if err != nil {
				return storeError(err, "store the delivery")
			}
			e.addedBytes(len(a.data))
		case <-ctx.Done():
			return storeError(ctx.Err(), "store the delivery")
		case <-e.ctx.Done():
			return core.Errorf(core.Unavailable, "the bridge is shutting down: whether the delivery is stored is unknown")
		}
	}
	e.counters.accepted.Add(int64(total))
	return nil
}

// largest is the most data that an entry may have. It leaves room for what a delivery
// on its own has beside its event: what came of its attempts.
func (e *Engine) largest() int { return e.store.MaxData() - triesRoom }

const triesRoom = 64 << 10

// pack adds an entry to the last pack of its lane, or to a new one when that is full.
func (e *Engine) pack(all []*append1, lane int, entry *record.Entry) ([]*append1, error) {
	for i := len(all) - 1; i >= 0; i-- {
		a := all[i]
		if a.lane != lane {
			continue
		}
		size := len(a.data)
		a.data = record.AppendEntry(a.data, entry)
		if len(a.data) <= min(maxPackBytes, e.largest()) {
			return all, nil
		}
		a.data = a.data[:size]
		break
	}
	a := &append1{lane: lane, data: record.AppendEntry(nil, entry)}
	if len(a.data) > e.largest() {
		return all, core.Errorf(core.TooLarge, "the event is too large to be delivered: with its recipients it has %d bytes, and the engine's store takes %d", len(a.data), e.largest())
	}
	return append(all, a), nil
}

// append1 is what one Deliver has for one lane.
type append1 struct {
	lane int
	data []byte // a pack
	done chan error
}

// appender writes to one lane: one message at a time, so that nothing overtakes
// anything when the store fails, and in each message all that has come meanwhile.
// That makes one write, and under durability "disk" one sync, of many events.
type appender struct {
	store   *store.Store
	subject string
	in      chan *append1
	count   uint64
	name    string
}

// The bounds of one message: its size in bytes, and the calls of Deliver in it.
const (
	maxPackBytes = 1 << 20
	maxPackCalls = 1024
)

func newAppender(s *store.Store, lane int) *appender {
	return &appender{
		store: s, subject: s.Subject(store.Lane(lane), "events"), in: make(chan *append1, maxPackCalls), name: core.NewID("pack"),
	}
}

func (a *appender) run(ctx context.Context) {
	var batch []*append1
	var data []byte
	for {
		select {
		case first := <-a.in:
			batch, data = append(batch[:0], first), first.data
		case <-ctx.Done():
			return
		}
		var next *append1
	collect:
		for len(batch) < maxPackCalls {
			select {
			case more := <-a.in:
				if len(data)+len(more.data) > min(maxPackBytes, a.store.MaxData()-triesRoom) {
					next = more
					break collect
				}
				data = record.JoinPacks(data, more.data)
				batch = append(batch, more)
			default:
				break collect
			}
		}
		a.store1(ctx, batch, data)
		if next != nil {
			a.store1(ctx, []*append1{next}, next.data)
		}
	}
}

// appendTime is how long a write is tried.
const appendTime = 15 * time.Second

// store1 writes one message. A write that was not answered is repeated under the
// same ID, until it is known what became of it.
func (a *appender) store1(ctx context.Context, batch []*append1, data []byte) {
	a.count++
	id := a.name + "_" + strconv.FormatUint(a.count, 36)
	_, err := persist(ctx, a.store, store.Put{Subject: a.subject, Data: data, ID: id}, appendTime)
	for _, b := range batch {
		b.done <- err
	}
}
