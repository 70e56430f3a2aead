package engine

import (
	"fmt"
	"testing"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine/internal/store"
)

// InMemory is how many deliveries to a subscription are held in memory.
func (e *Engine) InMemory(s *core.Subscription) int {
	held := make(chan int, 1)
	if !e.lanes[e.laneOf(s.Pattern)].tell(func(w *shift) { held <- w.inMemory(s.ID()) }) {
		return 0
	}
	return <-held
}

func (s *shift) inMemory(id string) int {
	ep := s.endpoints[id]
	if ep == nil {
		return 0
	}
	n := ep.waiting.len() + ep.running
	if b := ep.backlog; b != nil {
		n += len(b.win.packs)
		for _, c := range b.chunks {
			n += len(c.sources)
		}
	}
	return n
}

// WriteVersion writes another version of the format into the store of a closed
// engine.
func (e *Engine) WriteVersion(t *testing.T, version int) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Dir: e.o.Dir, Log: e.log})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	data := fmt.Appendf(nil, `{"version":%d,"lanes":4}`, version)
	if _, err := s.PutWait(t.Context(), store.Put{Subject: s.Subject(store.Registry, "meta"), Data: data}); err != nil {
		t.Fatal(err)
	}
}
