package router

import (
	"time"

	"github.com/gammazero/nexus/v3/wamp"
)

// maxLeaked is how many failed progressive calls a session may make: nexus keeps an
// entry for each until the session ends.
const maxLeaked = 1000

// calls are a session's calls in flight, by request id. They are guarded by the
// mailbox's mu.
type calls struct {
	open   map[wamp.ID]*call
	leaked int
}

// call is one of them. Its timeout is kept here since nexus' own timers would
// outlive a realm and then send on its closed channel.
type call struct {
	procedure   wamp.URI
	progressive bool // more CALL messages with this id may follow
	progress    bool // the caller wants progressive results
	timer       *time.Timer
}

// begin enters a call; expired is called after the timeout, if there is one.
func (c *calls) begin(m *wamp.Call, timeout time.Duration, expired func()) {
	if c.open == nil {
		c.open = map[wamp.ID]*call{}
	}
	entry := &call{procedure: m.Procedure, progressive: flag(m.Options, wamp.OptProgress), progress: flag(m.Options, wamp.OptReceiveProgress)}
	if timeout > 0 {
		entry.timer = time.AfterFunc(timeout, expired)
	}
	c.open[m.Request] = entry
}

// end removes a call and reports whether it was in flight.
func (c *calls) end(id wamp.ID) bool {
	entry := c.open[id]
	if entry == nil {
		return false
	}
	if entry.timer != nil {
		entry.timer.Stop()
	}
	delete(c.open, id)
	if len(c.open) == 0 {
		c.open = nil // the map of a burst would stay big
	}
	return true
}

// cancelAll removes all calls and returns their ids.
func (c *calls) cancelAll() []wamp.ID {
	ids := make([]wamp.ID, 0, len(c.open))
	for id := range c.open {
		ids = append(ids, id)
	}
	c.stop()
	return ids
}

// stop forgets all calls.
func (c *calls) stop() {
	for _, entry := range c.open {
		if entry.timer != nil {
			entry.timer.Stop()
		}
	}
	c.open = nil
}
