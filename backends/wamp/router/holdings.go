package router

import (
	"github.com/anybridge/anybridge/core"
	"github.com/gammazero/nexus/v3/wamp"
)

// held is a subscription or registration, asked for or made.
type held struct {
	pattern core.Pattern
	forward bool // a registration that wants CALL timeouts forwarded
}

// holdings are a session's subscriptions, or its registrations. They are guarded by
// the mailbox's mu, and change in the order in which nexus answers.
type holdings struct {
	asked    map[wamp.ID]held    // by request
	made     map[wamp.ID]held    // by subscription or registration id
	undoing  map[wamp.ID]wamp.ID // by request: the id
	patterns map[core.Pattern]int
}

func (h *holdings) size() int { return len(h.asked) + len(h.made) }

// has reports whether the pattern is asked for or made, and not being undone.
func (h *holdings) has(p core.Pattern) bool { return h.patterns[p] > 0 }

// ask takes note of a request that goes to nexus.
func (h *holdings) ask(request wamp.ID, what held) {
	if h.asked == nil {
		h.asked, h.made, h.undoing = map[wamp.ID]held{}, map[wamp.ID]held{}, map[wamp.ID]wamp.ID{}
		h.patterns = map[core.Pattern]int{}
	}
	h.asked[request] = what
	h.patterns[what.pattern]++
}

// granted takes note of SUBSCRIBED or REGISTERED.
func (h *holdings) granted(request, id wamp.ID) {
	what, ok := h.asked[request]
	if !ok {
		return
	}
	delete(h.asked, request)
	if _, again := h.made[id]; again {
		h.release(what.pattern)
	}
	h.made[id] = what
}

// refused takes note of an ERROR to a request.
func (h *holdings) refused(request wamp.ID) {
	if what, ok := h.asked[request]; ok {
		delete(h.asked, request)
		h.release(what.pattern)
	}
}

// undo takes note of UNSUBSCRIBE or UNREGISTER, and returns false if there is no
// such id.
func (h *holdings) undo(request, id wamp.ID) bool {
	what, ok := h.made[id]
	if !ok {
		return false
	}
	delete(h.made, id)
	h.release(what.pattern)
	h.undoing[request] = id
	return true
}

// undone takes note of the answer to that.
func (h *holdings) undone(request wamp.ID) { delete(h.undoing, request) }

func (h *holdings) release(p core.Pattern) {
	if h.patterns[p]--; h.patterns[p] <= 0 {
		delete(h.patterns, p)
	}
}

// all calls yield for everything asked for or made.
func (h *holdings) all(yield func(core.Pattern) bool) {
	for p := range h.patterns {
		if !yield(p) {
			return
		}
	}
}
