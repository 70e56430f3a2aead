package engine

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/anybridge/anybridge/engine/internal/record"
)

// repetitions remembers the last events of a lane that several bridges write to:
// when all of them hear an event from the same system, each writes it down.
type repetitions struct {
	seed          maphash.Seed
	current, last map[uint64]struct{}
}

// maxRepetitions bounds what is remembered: at least the last so many events.
const maxRepetitions = 1 << 16

func newRepetitions() *repetitions {
	return &repetitions{seed: maphash.MakeSeed(), current: map[uint64]struct{}{}}
}

// again reports whether the event has been seen, and remembers it.
func (r *repetitions) again(e *record.Entry) bool {
	if e.ID == "" || len(e.To) == 0 {
		return false
	}
	var h maphash.Hash
	h.SetSeed(r.seed)
	_, _ = h.WriteString(e.ID)
	_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, e.Group))
	_, _ = h.Write(e.To[0][:]) // one event may have several entries, for different recipients
	key := h.Sum64()
	_, now := r.current[key]
	_, before := r.last[key]
	if now || before {
		return true
	}
	if len(r.current) >= maxRepetitions {
		r.last, r.current = r.current, make(map[uint64]struct{}, maxRepetitions)
	}
	r.current[key] = struct{}{}
	return false
}
