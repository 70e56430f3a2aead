package plugins

import (
	"sync"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/internal/pb"
)

// invocations are those that came from one process and wait for the bridge's
// answer. When the process is gone they are all canceled.
type invocations struct {
	backend string
	limit   int // bytes of an answer
	outbox  *core.Pipe[feedMessage]

	mu      sync.Mutex
	waiting map[uint64]chan struct{} // Canceled of each; nil after the end
}

// receive makes the invocation that the bridge sees.
func (v *invocations) receive(m *pb.Invocation) *core.Invocation {
	id, canceled := m.GetId(), make(chan struct{})
	inv := invocationFromPB(m, v.backend)
	inv.Canceled = canceled
	inv.Reply = func(result *core.Result, err error) {
		if v.remove(id) != nil {
			// Its room is not counted: Reply must not block, and the plugin bounds
			// how many invocations wait.
			v.outbox.TryPut(feedMessage{answer: answer{id, result, err}.capped(v.limit)}, 0)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.waiting == nil {
		close(canceled)
	} else {
		v.waiting[id] = canceled
	}
	return inv
}

func (v *invocations) remove(id uint64) chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	canceled := v.waiting[id]
	delete(v.waiting, id)
	return canceled
}

func (v *invocations) cancel(id uint64) {
	if canceled := v.remove(id); canceled != nil {
		close(canceled)
	}
}

func (v *invocations) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, canceled := range v.waiting {
		close(canceled)
	}
	v.waiting = nil
}
