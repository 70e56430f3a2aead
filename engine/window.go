package engine

import (
	"encoding/binary"
	"time"
)

// window knows, for one log of packs (a lane, or a backlog), which of the
// deliveries that were read are settled. Everything up to the floor is; above it
// there is one bit for each delivery. Its cursor is what has to be kept to go on
// from here after a restart.
type window struct {
	floor     uint64  // every message up to this sequence number is settled
	packs     []*pack // above the floor, by sequence number
	unsettled int     // deliveries
	bytes     int     // of the packs that are not settled
	done      int64   // deliveries settled, in all
	doneBytes int64   // of the packs that are settled
	changed   bool    // since the cursor was taken

	// resumed are the bits of packs that were partly settled before a restart, until
	// they are read again.
	resumed map[uint64][]uint64
}

// pack is one message of a log.
type pack struct {
	seq   uint64
	size  int // bytes
	count int // deliveries in it
	left  int // of them, not settled
	bits  []uint64
	read  time.Time
	// created is when the oldest of them became owed.
	created time.Time
}

func (p *pack) settled(i int) bool { return p.bits[i/64]&(1<<(i%64)) != 0 }

// add takes in the next message of the log with count deliveries. Those that were
// settled before a restart are so again.
func (w *window) add(seq uint64, size, count int, now time.Time) *pack {
	p := &pack{seq: seq, size: size, count: count, left: count, bits: make([]uint64, (count+63)/64), read: now}
	if bits, ok := w.resumed[seq]; ok && len(bits) == len(p.bits) {
		p.bits = bits
		for i := range count {
			if p.settled(i) {
				p.left--
			}
		}
	}
	delete(w.resumed, seq)
	w.packs = append(w.packs, p)
	w.unsettled += p.left
	w.bytes += size
	w.changed = true
	if p.left == 0 {
		w.bytes -= size
		w.advance()
	}
	return p
}

// settle marks one delivery as settled.
func (w *window) settle(p *pack, i int) {
	if p.settled(i) {
		return
	}
	p.bits[i/64] |= 1 << (i % 64)
	p.left--
	w.unsettled--
	w.done++
	w.changed = true
	if p.left == 0 {
		w.bytes -= p.size
		w.advance()
	}
}

func (w *window) advance() {
	n := 0
	for n < len(w.packs) && w.packs[n].left == 0 {
		w.floor = w.packs[n].seq
		w.doneBytes += int64(w.packs[n].size)
		w.packs[n] = nil
		n++
	}
	w.packs = w.packs[n:]
	if len(w.packs) == 0 {
		w.packs = nil // give the memory back
	}
}

// oldest is the pack that holds the floor where it is, or nil.
func (w *window) oldest() *pack {
	if len(w.packs) == 0 {
		return nil
	}
	return w.packs[0]
}

// cursor writes down where the window stands.
func (w *window) cursor() []byte {
	w.changed = false
	b := binary.AppendUvarint(nil, w.floor)
	some := func(seq uint64, bits []uint64) {
		b = binary.AppendUvarint(b, seq-w.floor)
		b = binary.AppendUvarint(b, uint64(len(bits)))
		for _, word := range bits {
			b = binary.LittleEndian.AppendUint64(b, word)
		}
	}
	for _, p := range w.packs {
		if p.left < p.count { // else it is as if it had not been read
			some(p.seq, p.bits)
		}
	}
	for seq, bits := range w.resumed {
		if seq > w.floor {
			some(seq, bits)
		}
	}
	return b
}

// resume sets an empty window to a cursor, of a log that ends at a sequence number. A
// cursor that cannot be read is ignored: that costs repetitions, not deliveries. One
// that is ahead of its log is cut back to it: under durability "process" a loss of
// power may take more of the log than of the cursor, and what comes next gets the
// numbers that were lost.
func (w *window) resume(b []byte, end uint64) {
	floor, n := binary.Uvarint(b)
	if n <= 0 {
		return
	}
	b = b[n:]
	resumed := map[uint64][]uint64{}
	for len(b) > 0 {
		delta, n := binary.Uvarint(b)
		if n <= 0 {
			return
		}
		words, m := binary.Uvarint(b[n:])
		if m <= 0 || words > uint64(len(b[n+m:])/8) {
			return
		}
		b = b[n+m:]
		bits := make([]uint64, words)
		for i := range bits {
			bits[i] = binary.LittleEndian.Uint64(b[8*i:])
		}
		b = b[8*words:]
		if seq := floor + delta; seq <= end {
			resumed[seq] = bits
		}
	}
	w.floor, w.resumed, w.changed = min(floor, end), resumed, floor > end
}

// unload forgets the packs that were read, but not what is settled of them: they
// will be added again.
func (w *window) unload() {
	if w.resumed == nil {
		w.resumed = map[uint64][]uint64{}
	}
	for _, p := range w.packs {
		if p.left < p.count {
			w.resumed[p.seq] = p.bits
		}
	}
	w.packs, w.unsettled, w.bytes = nil, 0, 0
}
