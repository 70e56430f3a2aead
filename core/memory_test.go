package core_test

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/anybridge/anybridge/core"
)

// memory is a small but whole backend: its topics and procedures live in this
// process. It is what the bridge is tested with. As every backend, it does not bring
// back what the bridge itself publishes; hear brings in the events of others.
type memory struct {
	mu            sync.Mutex
	subscriptions core.PatternTable[*core.Pipe[*core.Event]]
	registrations core.PatternTable[*core.Pipe[*core.Invocation]]
	refuse        map[string]error // names that Subscribe and Register refuse
	ids           atomic.Int64
	published     []*core.Event // as Publish was given them
	down          error         // what Publish answers
}

func (m *memory) Open(context.Context, json.RawMessage) (core.Info, error) {
	all := []core.Match{core.Exact, core.Prefix, core.Wildcard}
	return core.Info{Kind: "memory", Can: core.Capabilities{
		Publish: true, Call: true, Subscribe: all, Register: all,
		Invoke: []string{"first", "last", "roundrobin", "random"},
	}}, nil
}

func (m *memory) Publish(_ context.Context, e *core.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down != nil {
		return m.down
	}
	given := *e
	m.published = append(m.published, &given)
	e.ID = strconv.FormatInt(m.ids.Add(1), 10)
	e.Withheld = e.Options.EligibleAuthRole != nil // the bridge has no such role
	return nil
}

// hear is an event that somebody else published.
func (m *memory) hear(ctx context.Context, e *core.Event) {
	e.ID = strconv.FormatInt(m.ids.Add(1), 10)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.subscriptions.Each(e.Topic, func(p *core.Pipe[*core.Event]) bool {
		_ = p.Put(ctx, e, e.Size())
		return true
	})
}

func (m *memory) Subscribe(_ context.Context, p core.Pattern) (core.Stream[*core.Event], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.refuse[p.Name]; err != nil {
		return nil, err
	}
	pipe := core.NewPipe[*core.Event](0, 0, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.subscriptions.Delete(p)
	})
	m.subscriptions.Set(p, pipe)
	return pipe, nil
}

func (m *memory) Call(ctx context.Context, c *core.Call) (*core.Result, error) {
	m.mu.Lock()
	pipe, ok := m.registrations.Best(c.Procedure)
	m.mu.Unlock()
	if !ok {
		return nil, core.Errorf(core.NoSuchProcedure, "no procedure %s", c.Procedure.Name)
	}
	type answer struct {
		result *core.Result
		err    error
	}
	answers := make(chan answer, 1)
	inv := &core.Invocation{
		ID: strconv.FormatInt(m.ids.Add(1), 10), Procedure: c.Procedure, Payload: c.Payload, Canceled: ctx.Done(),
		Reply: func(r *core.Result, err error) {
			select {
			case answers <- answer{r, err}:
			default:
			}
		},
	}
	if err := pipe.Put(ctx, inv, inv.Size()); err != nil {
		return nil, err
	}
	select {
	case a := <-answers:
		return a.result, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memory) Register(_ context.Context, p core.Pattern, _ core.RegisterOptions) (core.Stream[*core.Invocation], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.refuse[p.Name]; err != nil {
		return nil, err
	}
	if _, taken := m.registrations.Get(p); taken {
		return nil, core.Errorf(core.AlreadyExists, "procedure %s exists", p.Name)
	}
	pipe := core.NewPipe[*core.Invocation](0, 0, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.registrations.Delete(p)
	})
	m.registrations.Set(p, pipe)
	return pipe, nil
}

func (m *memory) Status(context.Context) (core.Status, error) {
	return core.Status{State: core.Up}, nil
}

func (m *memory) Close(context.Context) error { return nil }

func (m *memory) patterns() (subscriptions, registrations int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.subscriptions.Len(), m.registrations.Len()
}

// sent are the events that were published.
func (m *memory) sent() []*core.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.published)
}
