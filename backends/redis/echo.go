package redis

import (
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/anybridge/anybridge/core"
)

// echoes knows which messages of our own will come back on our subscriptions, for the
// formats that have no place for who published. One that looks the same and comes from
// somebody else at the same time may be taken for ours, and ours for theirs: their
// number is right either way.
type echoes struct {
	seed maphash.Seed

	mu      sync.Mutex
	pending map[uint64][]*echo
	n       int
}

// echo is one published message.
type echo struct {
	key     uint64
	awaited []*source // on which it did not come back yet
	until   time.Time // how long it is awaited; zero while Redis has not answered
}

const (
	maxEchoes = 100_000
	echoLife  = 5 * time.Second // after Redis has answered
)

func newEchoes() *echoes {
	return &echoes{seed: maphash.MakeSeed(), pending: map[uint64][]*echo{}}
}

func (t *echoes) key(channel string, message []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(t.seed)
	_, _ = h.WriteString(channel)
	_ = h.WriteByte(0)
	_, _ = h.Write(message)
	return h.Sum64()
}

// expect notes that a message will come back on these sources.
func (t *echoes) expect(channel string, message []byte, on []*source) (*echo, error) {
	e := &echo{key: t.key(channel, message), awaited: on}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n >= maxEchoes {
		err := core.Errorf(core.TooMany, "%d messages have not come back from redis yet", t.n)
		err.RetryAfter = time.Second
		return nil, err
	}
	t.pending[e.key] = append(t.pending[e.key], e)
	t.n++
	return e, nil
}

// answered says what became of the message: it is awaited for a while yet, or not at
// all.
func (t *echoes) answered(e *echo, published bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if published {
		e.until = time.Now().Add(echoLife)
	} else {
		t.removeLocked(e)
	}
}

// take reports whether the message that came on s is one of ours.
func (t *echoes) take(s *source, channel string, message []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == 0 {
		return false
	}
	for _, e := range t.pending[t.key(channel, message)] {
		if i := slices.Index(e.awaited, s); i >= 0 {
			if e.awaited = slices.Delete(e.awaited, i, i+1); len(e.awaited) == 0 {
				t.removeLocked(e)
			}
			return true
		}
	}
	return false
}

// expire forgets what is awaited too long; all that Redis has answered, if deaf says
// that the subscriptions cannot have heard.
func (t *echoes) expire(deaf bool) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, list := range t.pending {
		for _, e := range slices.Clone(list) {
			if !e.until.IsZero() && (deaf || now.After(e.until)) {
				t.removeLocked(e)
			}
		}
	}
}

func (t *echoes) removeLocked(e *echo) {
	list := t.pending[e.key]
	i := slices.Index(list, e)
	if i < 0 {
		return
	}
	t.n--
	if len(list) == 1 {
		delete(t.pending, e.key)
		return
	}
	t.pending[e.key] = slices.Delete(list, i, i+1)
}
