package engine

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine/internal/record"
	"github.com/anybridge/anybridge/engine/internal/store"
)

// backlog is what waits on the disk for one endpoint, in order. While there is one,
// everything new goes to its end.
type backlog struct {
	win   window // the packs that were read
	next  uint64 // where to read next
	last  uint64 // the last pack
	count int64  // deliveries that were written to it since the window began
	bytes int64  // of them
	// pardoned are bytes that waited when the endpoint was disabled, and then
	// subscribed again: they do not count against it once more.
	pardoned int64

	chunks  []*chunk // to be written, the first one maybe under way
	writing bool
	held    bool // the first chunk waits until what is older is safe
	reading bool
	purged  uint64
}

// chunk is a pack in the making.
type chunk struct {
	data    []byte
	sources []*delivery // they are settled in the lane when the chunk is written
}

// The bounds of one chunk: deliveries, and bytes unless one delivery has more.
const (
	maxChunk      = 256
	maxChunkBytes = 512 << 10
)

// with adds a delivery to the chunk, or to a new one if it is full or nil.
func (c *chunk) with(i *record.Item) *chunk {
	if c != nil && len(c.sources) < maxChunk {
		size := len(c.data)
		c.data = record.AppendItems(c.data, i)
		if len(c.data) <= maxChunkBytes {
			return c
		}
		c.data = c.data[:size]
	}
	return &chunk{data: record.AppendItems(nil, i)}
}

func (s *shift) backlogSubject(id string) string {
	return s.e.store.Subject(store.Backlog, laneToken(s.n), id)
}

// empty reports whether everything has been read and settled.
func (b *backlog) empty() bool {
	return len(b.win.packs) == 0 && len(b.chunks) == 0 && !b.reading && b.next > b.last
}

// drop forgets a backlog; what came from the lane is settled there.
func (b *backlog) drop(lane *window) {
	for _, c := range b.chunks {
		for _, d := range c.sources {
			lane.settle(d.pack, d.index)
		}
	}
	b.chunks = nil
}

// spill writes a delivery to the end of the endpoint's backlog.
func (s *shift) spill(ep *endpoint, d *delivery) {
	b := ep.backlog
	if b == nil {
		b = &backlog{}
		b.next = 1
		ep.backlog, ep.oldest = b, d.created
		s.touch(ep)
	}
	var last *chunk
	if n := len(b.chunks); n > 1 || n == 1 && !b.writing {
		last = b.chunks[n-1]
	}
	c := last.with(d.item())
	if c != last {
		b.chunks = append(b.chunks, c)
	}
	c.sources = append(c.sources, d)
	s.e.counters.spilled.Add(1)
	if !b.writing {
		b.writing = true
		// At the end of what the lane does now, so that a chunk gets full.
		s.timers.add(time.Time{}, func() { s.writeChunk(ep) })
	}
}

// spillWaiting writes everything that waits in memory, and came from the lane, to
// the backlog.
func (s *shift) spillWaiting(ep *endpoint) {
	older := ep.backlog != nil // than what is in the backlog
	for n := ep.waiting.len(); n > 0; n-- {
		d := ep.waiting.shift()
		switch {
		case d.log != &s.win:
			ep.waiting.push(d)
		case older && ep.target.Ordered:
			s.moveLater(d, time.Now())
		default:
			s.spill(ep, d)
		}
	}
}

// holdsUp reports whether a delivery of an ordered endpoint that is older than its
// backlog is only in the lane, and has it written on its own. After a restart the
// lane is read behind the backlog.
func (s *shift) holdsUp(ep *endpoint) bool {
	if !ep.target.Ordered {
		return false
	}
	if ep.running > 0 {
		for d := range s.sending {
			if d.to == ep && s.inLane(d) {
				s.moveRunning(d)
			}
		}
	}
	return ep.moves > 0
}

// inLane reports whether a delivery is kept in the lane, and is not on its way to
// somewhere else.
func (s *shift) inLane(d *delivery) bool { return d.log == &s.win && d.entry == nil && !d.moving }

// moveEnds notes that a delivery has been written elsewhere.
func (s *shift) moveEnds(ep *endpoint) {
	ep.moves--
	if b := ep.backlog; b != nil && b.held && ep.moves == 0 {
		b.held = false
		s.writeChunk(ep)
	}
}

// writeChunk writes the next chunk. One is under way at a time, which keeps them in
// order.
func (s *shift) writeChunk(ep *endpoint) {
	b := ep.backlog
	if b == nil || len(b.chunks) == 0 || ep.gone {
		if b != nil {
			b.writing = false
		}
		return
	}
	if s.stopping {
		return // what it holds stays in the lane
	}
	if s.holdsUp(ep) {
		b.held = true
		return
	}
	c := b.chunks[0]
	put := store.Put{Subject: s.backlogSubject(ep.id), Data: c.data, ID: core.NewID("chunk")}
	s.putUntilDone(put, func(seq uint64) {
		if ep.gone {
			s.e.store.Purge(store.Backlog, put.Subject, seq+1, nil) // what is behind it belongs to a new subscription
			return
		}
		if b.last == 0 && b.count == 0 {
			b.win.floor, b.next = seq-1, seq
		}
		b.last = max(b.last, seq)
		b.count += int64(len(c.sources))
		b.bytes += int64(len(c.data))
		for _, d := range c.sources {
			s.win.settle(d.pack, d.index)
		}
		b.chunks[0] = nil
		b.chunks = b.chunks[1:]
		s.touch(ep)
		if b.size() > s.e.o.MaxWaiting+b.pardoned && ep.disabled == "" {
			s.disable(ep, "too much waits for it")
		}
		if len(b.chunks) > 0 {
			s.writeChunk(ep)
		} else {
			b.writing = false
		}
		s.start(ep)
	})
}

// lowWater is how few deliveries may wait in memory before more are read.
const lowWater = maxChunk

// feed reads the next pack of the backlog when there is use for it.
func (s *shift) feed(ep *endpoint) {
	b := ep.backlog
	if b == nil || ep.gone || s.stopping {
		return
	}
	if b.empty() {
		s.endBacklog(ep)
		return
	}
	if b.reading || b.next > b.last || ep.waiting.len() > lowWater || ep.disabled != "" || len(b.win.packs) > 64 ||
		ep.parked && (ep.waiting.len() > 0 || time.Now().Before(ep.probe)) {
		return
	}
	b.reading = true
	next := b.next
	s.spawn(func() {
		ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
		defer cancel()
		m, err := s.e.store.Next(ctx, store.Backlog, s.backlogSubject(ep.id), next)
		s.post(func() { s.fed(ep, m, err) })
	})
}

// fed takes in a pack of the backlog.
func (s *shift) fed(ep *endpoint, m *store.Msg, err error) {
	b := ep.backlog
	if b == nil || ep.gone {
		return
	}
	b.reading = false
	switch {
	case errors.Is(err, store.ErrNotFound):
		b.last = b.next - 1 // what was thought to be there has been removed
		s.feed(ep)
		return
	case err != nil:
		s.timers.add(time.Now().Add(retryPause), func() { s.feed(ep) })
		return
	}
	items, err := record.Items(m.Data)
	if err != nil { // what is whole of it is delivered
		s.log.Error("backlog: malformed message", slog.String("endpoint", ep.id), slog.Uint64("sequence", m.Seq), slog.Any("error", err))
	}
	p := b.win.add(m.Seq, len(m.Data), len(items), time.Now())
	if len(items) > 0 {
		p.created = items[0].Created
	}
	b.next = m.Seq + 1
	for i, item := range items {
		if p.settled(i) {
			continue
		}
		d := &delivery{to: ep, log: &b.win, pack: p, index: i}
		d.load(item)
		if s.moved(d) {
			b.win.settle(p, i)
			continue
		}
		ep.waiting.push(d)
	}
	s.start(ep)
}

// endBacklog goes back to memory: everything on the disk is settled.
func (s *shift) endBacklog(ep *endpoint) {
	s.purgeUntilDone(store.Backlog, s.backlogSubject(ep.id), ep.backlog.win.floor+1)
	ep.backlog = nil
	s.touch(ep)
}

// unload gives up what was read of a parked endpoint's backlog; it is read again
// for the next probe.
func (s *shift) unload(ep *endpoint) {
	b := ep.backlog
	if b == nil || ep.running > 0 || ep.moves > 0 || b.reading || len(b.win.packs) == 0 {
		return
	}
	for n := ep.waiting.len(); n > 0; n-- {
		if d := ep.waiting.shift(); d.log == &s.win {
			ep.waiting.push(d)
		}
	}
	b.win.unload()
	b.next = b.win.floor + 1
}

// disable stops sending to an endpoint until it is subscribed again. What waits for
// it stays; nothing more is added.
func (s *shift) disable(ep *endpoint, reason string) {
	ep.disabled = reason
	s.log.Error("endpoint disabled", slog.String("endpoint", ep.id), slog.String("reason", reason))
	s.touch(ep)
	s.trouble(ep, &delivery{to: ep}, Disabled, reason)
}
