package engine

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"
)

// anyEnd is the end of a log that holds everything a cursor tells of.
const anyEnd = 1 << 40

// reference is a window without cleverness: every delivery that is settled.
type reference map[uint64]map[int]bool

func (r reference) settle(seq uint64, i int) {
	if r[seq] == nil {
		r[seq] = map[int]bool{}
	}
	r[seq][i] = true
}

// TestWindowSurvivesRestarts settles deliveries in any order, with restarts at any
// moment: what was settled stays so, and nothing else is.
func TestWindowSurvivesRestarts(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		counts := map[uint64]int{} // deliveries in each pack; sequence numbers have gaps
		var seqs []uint64
		for seq := uint64(1 + random.IntN(5)); len(seqs) < 30; seq += 1 + uint64(random.IntN(3)) {
			seqs = append(seqs, seq)
			counts[seq] = random.IntN(200)
		}
		settled := reference{}
		w := &window{}
		read := 0 // of seqs
		var packs []*pack
		next := func() {
			if read < len(seqs) {
				packs = append(packs, w.add(seqs[read], 10, counts[seqs[read]], time.Time{}))
				read++
			}
		}
		again := func() { // read what is above the floor once more
			packs, read = nil, 0
			for read < len(seqs) && seqs[read] <= w.floor {
				read++
			}
		}
		for range 300 {
			switch random.IntN(12) {
			case 0, 1:
				next()
			case 2: // a restart
				cursor := w.cursor()
				w = &window{}
				w.resume(cursor, anyEnd)
				again()
			case 3:
				w.unload()
				again()
			default:
				if len(packs) == 0 {
					continue
				}
				p := packs[random.IntN(len(packs))]
				for range random.IntN(100) {
					if p.count > 0 {
						i := random.IntN(p.count)
						w.settle(p, i)
						settled.settle(p.seq, i)
					}
				}
			}
			for _, p := range packs {
				for i := range p.count {
					if p.settled(i) != settled[p.seq][i] {
						t.Fatalf("seed %d: delivery %d of pack %d: settled is %v", seed, i, p.seq, p.settled(i))
					}
				}
			}
			for _, seq := range seqs {
				if seq <= w.floor && len(settled[seq]) != counts[seq] {
					t.Fatalf("seed %d: the floor is %d, and %d of %d in pack %d are settled", seed, w.floor, len(settled[seq]), counts[seq], seq)
				}
			}
			unsettled := 0
			for _, p := range w.packs {
				unsettled += p.left
			}
			if w.unsettled != unsettled || w.bytes < 0 {
				t.Fatalf("seed %d: %d unsettled, counted %d; %d bytes", seed, unsettled, w.unsettled, w.bytes)
			}
		}
	}
}

func TestWindowFloorFollowsTheOldest(t *testing.T) {
	w := &window{}
	a, b, empty, c := w.add(5, 100, 2, time.Time{}), w.add(7, 100, 1, time.Time{}), w.add(8, 100, 0, time.Time{}), w.add(9, 100, 1, time.Time{})
	w.settle(b, 0)
	w.settle(a, 1)
	if w.floor != 0 || w.oldest() != a || w.unsettled != 2 || w.bytes != 200 || empty.left != 0 {
		t.Errorf("floor %d, %d unsettled, %d bytes; want 0, 2, 200", w.floor, w.unsettled, w.bytes)
	}
	w.settle(a, 1) // once more: nothing changes
	w.settle(a, 0)
	if w.floor != 8 || w.oldest() != c || w.unsettled != 1 || w.done != 3 || w.doneBytes != 300 {
		t.Errorf("floor %d, %d unsettled, %d done, %d bytes; want 8, 1, 3, 300", w.floor, w.unsettled, w.done, w.doneBytes)
	}
	w.settle(c, 0)
	if w.floor != 9 || w.oldest() != nil || w.packs != nil || w.bytes != 0 {
		t.Errorf("at the end: floor %d, %d packs, %d bytes", w.floor, len(w.packs), w.bytes)
	}
}

func TestMalformedCursorsAreIgnored(t *testing.T) {
	w := &window{}
	p := w.add(300, 1, 100, time.Time{})
	w.settle(p, 99)
	whole := w.cursor()
	for n := range whole {
		r := &window{}
		r.resume(whole[:n], anyEnd)
		if n > 0 && n != 1 && (r.floor != 0 || r.resumed != nil) {
			t.Errorf("%d of %d bytes: floor %d, %v", n, len(whole), r.floor, r.resumed)
		}
	}
	for _, b := range [][]byte{
		nil,
		bytes.Repeat([]byte{0xff}, 20),
		binary.AppendUvarint([]byte{1, 1}, 1<<60), // more words than there are bytes
		{0, 1, 0xff},
	} {
		r := &window{}
		r.resume(b, anyEnd)
		if r.floor != 0 || r.resumed != nil {
			t.Errorf("%v: floor %d, %v", b, r.floor, r.resumed)
		}
	}
}

func TestACursorForOtherPacksIsNotApplied(t *testing.T) {
	w := &window{}
	w.settle(w.add(3, 1, 100, time.Time{}), 70)
	r := &window{}
	r.resume(w.cursor(), anyEnd)
	if p := r.add(3, 1, 10, time.Time{}); p.left != 10 || r.unsettled != 10 {
		t.Errorf("%d left of another pack of 10 under the same number", p.left)
	}
}

func TestACursorAheadOfItsLogIsCutOff(t *testing.T) {
	w := &window{}
	w.settle(w.add(3, 1, 1, time.Time{}), 0)
	w.settle(w.add(5, 1, 100, time.Time{}), 7)
	w.settle(w.add(9, 1, 100, time.Time{}), 7)
	r := &window{}
	r.resume(w.cursor(), 5)
	if r.floor != 3 || len(r.resumed) != 1 || r.resumed[5] == nil {
		t.Errorf("floor %d, %v", r.floor, r.resumed)
	}
	r = &window{}
	r.resume(w.cursor(), 2)
	if r.floor != 2 || len(r.resumed) != 0 {
		t.Errorf("floor %d, %v", r.floor, r.resumed)
	}
}

func FuzzCursor(f *testing.F) {
	w := &window{}
	w.settle(w.add(3, 1, 100, time.Time{}), 70)
	f.Add(w.cursor())
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &window{}
		w.resume(b, anyEnd)
		p := w.add(w.floor+1, 1, 64, time.Time{})
		for i := range 64 {
			w.settle(p, i)
		}
		if p.left != 0 || w.unsettled != 0 {
			t.Errorf("%d left, %d unsettled", p.left, w.unsettled)
		}
		again := &window{}
		again.resume(w.cursor(), anyEnd)
		if again.floor != w.floor {
			t.Errorf("floor %d, after a restart %d", w.floor, again.floor)
		}
	})
}
