package plugins

import (
	"context"
	"sync"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/internal/pb"
)

// Register implements pb.BackendServer.
func (s *server) Register(stream pb.Backend_RegisterServer) error {
	f, err := newFeeding[*core.Invocation](stream.Context(), s)
	if err != nil {
		return err
	}
	asked := &askedInvocations{gate: &s.invocations, byID: map[uint64]*askedInvocation{}}
	f.size = invocationSize
	f.open = func(ctx context.Context, p core.Pattern, m *pb.Feed) (core.Stream[*core.Invocation], error) {
		return f.from.Register(ctx, p, core.RegisterOptions{Invoke: m.GetInvoke()})
	}
	f.forward = func(feed uint64, inv *core.Invocation, size int) {
		id, err := asked.add(inv)
		if err != nil {
			f.refuse(inv, err)
			// Nothing is sent for it, so the host will not give its credit back.
			f.grant(feed, uint64(size))
			return
		}
		f.put(feedOutput{feed: feed, id: id, invocation: inv}, size)
		asked.watch(id, func() { f.put(feedOutput{id: id, canceled: true}, 0) })
	}
	f.refuse = func(inv *core.Invocation, err error) { inv.Reply(nil, err) }
	receive := func() error {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		f.handle(stream.Context(), m.GetOpen(), m.GetCredit(), m.GetClose())
		for _, r := range m.GetAnswers() {
			asked.answer(r)
		}
		return nil
	}
	defer asked.end()
	return f.serve(stream.Context(), receive, &invocationBatch{stream: stream})
}

// askedInvocations are the invocations for which the plugin waits for the bridge's
// answer.
type askedInvocations struct {
	gate     *gate
	watchers sync.WaitGroup

	mu     sync.Mutex
	lastID uint64
	byID   map[uint64]*askedInvocation
}

type askedInvocation struct {
	*core.Invocation
	done chan struct{} // closed by the answer; nil if nobody watches Canceled
}

func (a *askedInvocations) add(inv *core.Invocation) (id uint64, err error) {
	if err := a.gate.enter(); err != nil {
		return 0, err
	}
	asked := &askedInvocation{Invocation: inv}
	if inv.Canceled != nil {
		asked.done = make(chan struct{})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lastID++
	a.byID[a.lastID] = asked
	return a.lastID, nil
}

// watch waits for the backend to cancel the invocation; then it answers it and
// calls canceled, for the host. It is called after the invocation has been sent, so
// that the host hears of the two in that order.
func (a *askedInvocations) watch(id uint64, canceled func()) {
	a.mu.Lock()
	asked := a.byID[id]
	a.mu.Unlock()
	if asked == nil || asked.done == nil {
		return
	}
	a.watchers.Go(func() {
		select {
		case <-asked.Canceled:
			if a.finish(id, nil, core.Errorf(core.Canceled, "the caller gave up")) {
				canceled()
			}
		case <-asked.done:
		}
	})
}

func (a *askedInvocations) answer(m *pb.CallReply) {
	result, err := resultFromPB(m)
	a.finish(m.GetId(), result, err)
}

// finish answers an invocation and reports whether it was still waiting.
func (a *askedInvocations) finish(id uint64, result *core.Result, err error) bool {
	a.mu.Lock()
	asked := a.byID[id]
	delete(a.byID, id)
	a.mu.Unlock()
	if asked == nil {
		return false
	}
	a.gate.leave()
	if asked.done != nil {
		close(asked.done)
	}
	asked.Reply(result, err)
	return true
}

// end answers all that wait: the host is gone.
func (a *askedInvocations) end() {
	a.mu.Lock()
	var ids []uint64
	for id := range a.byID {
		ids = append(ids, id)
	}
	a.mu.Unlock()
	for _, id := range ids {
		a.finish(id, nil, errClosed())
	}
	a.watchers.Wait()
}
