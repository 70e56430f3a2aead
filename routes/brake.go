package routes

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/anybridge/anybridge/core"
)

// A brake ends what goes round through two backends that are connected to one system:
// what the route has published on one comes in again on the other, as if somebody else
// had said it, and nothing tells it from that but its text. So an event that repeats
// the text which the route has carried shortly before is one turn further than that, and
// after maxTurns it is stopped.
const (
	maxTurns   = 8
	turnTime   = 5 * time.Second
	maxTexts   = 1024
	leastBytes = 2 // shorter texts are no evidence
)

var errGoesRound = errors.New("the event goes round: two backends of this kind seem to be connected to one system")

type brake struct {
	mu    sync.Mutex
	texts []turn // oldest first
}

// turn is a text that was carried.
type turn struct {
	text  string
	count int
	at    time.Time
}

// stops reports whether the payload has gone round often enough.
func (b *brake) stops(p core.Payload) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.turns(p.Text()) >= maxTurns
}

// passed notes that the route makes out of one.
func (b *brake) passed(in, out core.Payload) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	text := out.Text()
	if len(text) < leastBytes {
		return
	}
	b.texts = append(b.texts, turn{text, b.turns(in.Text()) + 1, now})
	old := 0
	for old < len(b.texts) && (now.Sub(b.texts[old].at) > turnTime || len(b.texts)-old > maxTexts) {
		old++
	}
	b.texts = append(b.texts[:0], b.texts[old:]...)
}

// turns is how often what is in this text was carried already.
func (b *brake) turns(text string) int {
	most := 0
	for i := range b.texts {
		t := &b.texts[i]
		if t.count > most && time.Since(t.at) <= turnTime && strings.Contains(text, t.text) {
			most = t.count
		}
	}
	return most
}

// suspects are the routes whose events could come back to them through another backend
// of the same kind. kind tells a backend's.
func suspects(all []*Route, kind func(backend string) string) map[*Route]bool {
	next := func(r *Route) (out []*Route) {
		for _, t := range r.targets {
			for _, other := range all {
				if other.isEvents() && other.From.Backend != t.backend && kind(other.From.Backend) == kind(t.backend) {
					out = append(out, other)
				}
			}
		}
		return out
	}
	found := map[*Route]bool{}
	for _, start := range all {
		seen := map[*Route]bool{}
		queue := next(start)
		for len(queue) > 0 {
			r := queue[0]
			queue = queue[1:]
			if seen[r] {
				continue
			}
			seen[r] = true
			queue = append(queue, next(r)...)
		}
		if seen[start] {
			found[start] = true
		}
	}
	return found
}
