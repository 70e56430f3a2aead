package record

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/anybridge/anybridge/core"
)

// Key is a subscription's ID in ten bytes.
type Key [10]byte

const keyPrefix = "sub_"

// KeyOf is the key of a subscription's ID, or false for anything else.
func KeyOf(id string) (k Key, ok bool) {
	digits, found := strings.CutPrefix(id, keyPrefix)
	if !found || len(digits) != 2*len(k) {
		return k, false
	}
	_, err := hex.Decode(k[:], []byte(digits))
	return k, err == nil
}

// ID is the subscription's ID.
func (k Key) ID() string { return keyPrefix + hex.EncodeToString(k[:]) }

// Entry is one event with the subscriptions it is owed to.
type Entry struct {
	Event *core.Event
	// Group and ID tell repetitions: two entries with the same pair are the same
	// event for the same pattern.
	Group uint64
	ID    string
	To    []Key
}

// A pack is a sequence of entries, stored as one message.
const packForm = 'P'

// AppendEntry appends an entry to a pack, which begins empty.
func AppendEntry(b []byte, e *Entry) []byte {
	if len(b) == 0 {
		b = append(b, packForm)
	}
	b = binary.LittleEndian.AppendUint64(b, e.Group)
	b = appendText(b, e.ID)
	b = appendEvent(b, e.Event)
	b = binary.AppendUvarint(b, uint64(len(e.To)))
	for i := range e.To {
		b = append(b, e.To[i][:]...)
	}
	return b
}

// JoinPacks appends the entries of one pack to another.
func JoinPacks(b, more []byte) []byte {
	if len(b) == 0 {
		return append(b, more...)
	}
	return append(b, more[1:]...)
}

// Pack reads a pack. The events share its memory. With an error it returns the
// entries that are whole.
func Pack(b []byte) ([]Entry, error) {
	r := reader{b: b}
	if r.byte() != packForm {
		return nil, fmt.Errorf("read pack: %w", ErrMalformed)
	}
	var entries []Entry
	for len(r.b) > 0 {
		var e Entry
		if g := r.take(8); len(g) == 8 {
			e.Group = binary.LittleEndian.Uint64(g)
		}
		e.ID = r.text()
		e.Event = r.event()
		n := r.count()
		keys := r.take(uint64(n) * uint64(len(Key{})))
		e.To = make([]Key, 0, len(keys)/len(Key{}))
		for i := 0; i < len(keys); i += len(Key{}) {
			e.To = append(e.To, Key(keys[i:]))
		}
		if r.err == nil {
			entries = append(entries, e)
		}
	}
	return entries, r.done("pack")
}

func appendEvent(b []byte, e *core.Event) []byte {
	b = appendText(b, e.ID)
	b = appendText(b, e.Topic.Backend)
	b = appendText(b, e.Topic.Name)
	b = appendText(b, e.Args)
	b = appendText(b, e.Kwargs)
	b = appendText(b, e.Details)
	return appendTime(b, e.Time)
}

func (r *reader) event() *core.Event {
	return &core.Event{
		ID:      r.text(),
		Topic:   core.Address{Backend: r.text(), Name: r.text()},
		Payload: core.Payload{Args: r.bytes(), Kwargs: r.bytes()},
		Details: r.bytes(),
		Time:    r.time(),
	}
}
