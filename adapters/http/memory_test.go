package rest

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/anybridge/anybridge/core"
)

// memory is a whole message system in memory: topics, procedures, patterns. Its
// own procedures are Go functions; others are registered.
type memory struct {
	own   map[string]func(context.Context, *core.Call) (*core.Result, error)
	block bool  // everything waits for the end of ctx
	down  error // what everything answers

	mu   sync.Mutex
	subs map[core.Pattern]*core.Pipe[*core.Event]
	regs map[core.Pattern]*core.Pipe[*core.Invocation]
}

var _ core.Backend = (*memory)(nil)

func newMemory() *memory {
	return &memory{subs: map[core.Pattern]*core.Pipe[*core.Event]{}, regs: map[core.Pattern]*core.Pipe[*core.Invocation]{}}
}

func canAll() core.Info {
	all := []core.Match{core.Exact, core.Prefix, core.Wildcard}
	return core.Info{Kind: "memory", Can: core.Capabilities{
		Publish: true, Call: true, Subscribe: all, Register: all,
		Invoke: []string{"single", "first", "last", "roundrobin", "random"}, Retain: true,
	}}
}

func (m *memory) Open(context.Context, json.RawMessage) (core.Info, error) { return canAll(), nil }

func (m *memory) Close(context.Context) error { return nil }

func (m *memory) Status(context.Context) (core.Status, error) {
	if m.down != nil {
		return core.Status{}, m.down
	}
	return core.Status{State: core.Up, Counters: map[string]int64{"things_seen": 3, "things_now": 1}}, nil
}

func (m *memory) ready(ctx context.Context) error {
	if m.block {
		<-ctx.Done()
		return ctx.Err()
	}
	return m.down
}

// Publish has nobody to tell: what the bridge publishes does not come back.
func (m *memory) Publish(ctx context.Context, _ *core.Event) error { return m.ready(ctx) }

func (m *memory) Subscribe(ctx context.Context, p core.Pattern) (core.Stream[*core.Event], error) {
	if err := m.ready(ctx); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	pipe := core.NewPipe[*core.Event](0, 0, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.subs, p)
	})
	m.subs[p] = pipe
	return pipe, nil
}

func (m *memory) Register(ctx context.Context, p core.Pattern, _ core.RegisterOptions) (core.Stream[*core.Invocation], error) {
	if err := m.ready(ctx); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	pipe := core.NewPipe[*core.Invocation](0, 0, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.regs, p)
	})
	m.regs[p] = pipe
	return pipe, nil
}

func (m *memory) Call(ctx context.Context, c *core.Call) (*core.Result, error) {
	if err := m.ready(ctx); err != nil {
		return nil, err
	}
	if own := m.own[c.Procedure.Name]; own != nil {
		return own(ctx, c)
	}
	type answer struct {
		result *core.Result
		err    error
	}
	answers := make(chan answer, 1)
	inv := &core.Invocation{
		ID: core.NewID("inv"), Procedure: c.Procedure, Payload: c.Payload, Details: c.Caller.Details(), Canceled: ctx.Done(),
		Reply: func(r *core.Result, err error) {
			select {
			case answers <- answer{r, err}:
			default:
			}
		},
	}
	m.mu.Lock()
	taken := false
	for p, pipe := range m.regs {
		if p.Matches(c.Procedure) && pipe.TryPut(inv, inv.Size()) {
			taken = true
			break
		}
	}
	m.mu.Unlock()
	if !taken {
		return nil, core.Errorf(core.NoSuchProcedure, "nobody has registered %s", c.Procedure.Name)
	}
	select {
	case a := <-answers:
		return a.result, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// procedures are what the tests call.
func procedures() map[string]func(context.Context, *core.Call) (*core.Result, error) {
	return map[string]func(context.Context, *core.Call) (*core.Result, error){
		"com.shop.add2": func(_ context.Context, c *core.Call) (*core.Result, error) {
			var n []int64
			if err := json.Unmarshal(c.Args, &n); err != nil || len(n) != 2 {
				return nil, &core.Error{Code: core.Application, URI: "wamp.error.invalid_argument", Message: "want two numbers"}
			}
			sum, err := json.Marshal([]int64{n[0] + n[1]})
			return &core.Result{Payload: core.Payload{Args: sum}}, err
		},
		"com.shop.echo": func(_ context.Context, c *core.Call) (*core.Result, error) {
			return &core.Result{Payload: c.Payload}, nil
		},
		"com.shop.nothing": func(context.Context, *core.Call) (*core.Result, error) { return &core.Result{}, nil },
		"com.shop.buy": func(context.Context, *core.Call) (*core.Result, error) {
			return nil, &core.Error{Code: core.Application, URI: "com.shop.sold_out", Message: "there are none left", Payload: core.Payload{
				Args: json.RawMessage(`["apples", 18446744073709551617]`), Kwargs: json.RawMessage(`{"again":"tomorrow"}`),
			}}
		},
		"com.shop.wait": func(ctx context.Context, _ *core.Call) (*core.Result, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"com.shop.bug": func(context.Context, *core.Call) (*core.Result, error) {
			return nil, errors.New("map of nil at 10.0.0.7")
		},
		"com.shop.panic": func(context.Context, *core.Call) (*core.Result, error) { panic("secret of the house") },
		"com.shop.busy": func(context.Context, *core.Call) (*core.Result, error) {
			return nil, core.Errorf(core.TooMany, "the queue is full")
		},
	}
}
