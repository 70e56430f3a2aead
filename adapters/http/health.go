package rest

import (
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/core"
)

// registrationHealth counts what became of the invocations of one registration.
type registrationHealth struct {
	answered, failed atomic.Int64
	lastCall         atomic.Int64 // Unix nanoseconds
	lastError        atomic.Pointer[string]
}

// Health tells how a registration's endpoint is doing since it was registered.
func (c *Callbacks) Health(r *core.Registration) InvocationHealth {
	v, ok := c.health.Load(r)
	if !ok {
		return InvocationHealth{}
	}
	h := v.(*registrationHealth) //nolint:forcetypeassert // the map holds nothing else
	view := InvocationHealth{Answered: h.answered.Load(), Failed: h.failed.Load()}
	if at := h.lastCall.Load(); at != 0 {
		view.LastCall = time.Unix(0, at).UTC()
	}
	if text := h.lastError.Load(); text != nil {
		view.LastError = *text
	}
	return view
}

func (c *Callbacks) noteHealth(r *core.Registration, err error) {
	v, ok := c.health.Load(r)
	if !ok {
		var had bool
		if v, had = c.health.LoadOrStore(r, new(registrationHealth)); !had {
			c.healthLen.Add(1)
		}
	}
	h := v.(*registrationHealth) //nolint:forcetypeassert // the map holds nothing else
	h.lastCall.Store(time.Now().UnixNano())
	if outcomeOf(err) == outcomeOK {
		h.answered.Add(1)
		if h.lastError.Load() != nil {
			h.lastError.Store(nil)
		}
		return
	}
	h.failed.Add(1)
	text := core.AsError(err).Message
	h.lastError.Store(&text)
}

// spareHealth is how many registrations that no longer exist may be remembered.
const spareHealth = 256

// keepHealth forgets registrations that no longer exist, when many do not.
func (c *Callbacks) keepHealth(b *core.Bridge) {
	if c.healthLen.Load() <= spareHealth {
		return
	}
	live := b.Registrations("")
	if c.healthLen.Load() <= int64(2*len(live)+spareHealth) {
		return
	}
	exists := make(map[*core.Registration]bool, len(live))
	for _, r := range live {
		exists[r] = true
	}
	c.health.Range(func(k, _ any) bool {
		if !exists[k.(*core.Registration)] { //nolint:forcetypeassert // the map holds nothing else
			c.health.Delete(k)
			c.healthLen.Add(-1)
		}
		return true
	})
}
