// Plugin-echo is a complete backend for anybridge in one file: a message system in
// memory, in which there is nobody but the bridge and an echo. Copy it to begin a backend of your own; build it with
// "go build" and put its path into the configuration:
//
//	backends:
//	  echo: {plugin: ./plugin-echo, config: {greeting: hello}}
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins"
	"github.com/anybridge/anybridge/plugins/kit"
)

func main() {
	plugins.Serve(func(env plugins.Env) core.Backend { return &echo{log: env.Log} })
}

// echo answers each event on a topic, say "news", with one of its own on "echo.news".
// It hands each call to the one who registered the procedure, and calls of the
// procedure "echo" back to the caller.
type echo struct {
	log *slog.Logger

	mu         sync.Mutex
	closed     chan struct{} // nil before Open
	greeting   string
	lastID     int
	subs       map[core.Pattern]*core.Pipe[*core.Event]
	procedures map[core.Pattern]*kit.Calls
}

// pipeItems is how many events or calls may wait for the bridge.
const pipeItems = 1024

// Open implements core.Backend. Called again, it takes a changed greeting over.
func (b *echo) Open(_ context.Context, config json.RawMessage) (core.Info, error) {
	settings := struct {
		Greeting string `json:"greeting"`
	}{"hello"}
	if err := kit.Decode(config, &settings); err != nil {
		return core.Info{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.greeting = settings.Greeting
	if b.closed == nil {
		b.closed = make(chan struct{})
		b.subs = map[core.Pattern]*core.Pipe[*core.Event]{}
		b.procedures = map[core.Pattern]*kit.Calls{}
	}
	b.log.Info("open", slog.String("greeting", b.greeting))
	all := []core.Match{core.Exact, core.Prefix, core.Wildcard}
	return core.Info{Kind: "echo", Can: core.Capabilities{
		Publish: true, Subscribe: all, Call: true, Register: []core.Match{core.Exact},
	}}, nil
}

// Publish implements core.Backend. The event itself does not come back: what the
// subscriptions get is the echo's own, with another id.
func (b *echo) Publish(ctx context.Context, e *core.Event) error {
	answer := &core.Event{
		Topic:   core.Address{Backend: e.Topic.Backend, Name: "echo." + e.Topic.Name},
		Payload: e.Payload,
		Time:    time.Now(),
	}
	var to []*core.Pipe[*core.Event]
	b.mu.Lock()
	if b.isClosed() {
		b.mu.Unlock()
		return core.Errorf(core.Unavailable, "the echo is closed")
	}
	e.ID, answer.ID = fmt.Sprint(b.lastID+1), fmt.Sprint(b.lastID+2)
	b.lastID += 2
	for pattern, sub := range b.subs {
		if pattern.Matches(answer.Topic) {
			to = append(to, sub)
		}
	}
	b.mu.Unlock()
	for _, sub := range to {
		// Waits for a slow subscriber; an error says that it is gone.
		if err := sub.Put(ctx, answer, answer.Size()); err != nil && ctx.Err() != nil {
			return core.AsError(err)
		}
	}
	return nil
}

// isClosed reports whether Close has been called. b.mu is held.
func (b *echo) isClosed() bool {
	select {
	case <-b.closed:
		return true
	default:
		return false
	}
}

// Subscribe implements core.Backend.
func (b *echo) Subscribe(_ context.Context, p core.Pattern) (core.Stream[*core.Event], error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.isClosed():
		return nil, core.Errorf(core.Unavailable, "the echo is closed")
	case b.subs[p] != nil:
		return nil, core.Errorf(core.AlreadyExists, "%s is subscribed already", p)
	}
	sub := core.NewPipe[*core.Event](pipeItems, 0, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.subs, p)
	})
	b.subs[p] = sub
	return sub, nil
}

// Register implements core.Backend.
func (b *echo) Register(_ context.Context, p core.Pattern, _ core.RegisterOptions) (core.Stream[*core.Invocation], error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.isClosed():
		return nil, core.Errorf(core.Unavailable, "the echo is closed")
	case b.procedures[p] != nil:
		return nil, core.Errorf(core.AlreadyExists, "%s is registered already", p)
	}
	callee := kit.NewCalls(pipeItems, 0, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.procedures, p)
	})
	b.procedures[p] = callee
	return callee, nil
}

// Call implements core.Backend.
func (b *echo) Call(ctx context.Context, c *core.Call) (*core.Result, error) {
	b.mu.Lock()
	callee := b.procedures[core.Pattern{Address: c.Procedure, Match: core.Exact}]
	greeting, closed := b.greeting, b.isClosed()
	b.mu.Unlock()
	switch {
	case closed:
		return nil, core.Errorf(core.Unavailable, "the echo is closed")
	case callee != nil:
		return invoke(ctx, callee, c)
	case c.Procedure.Name == "echo":
		return &core.Result{Payload: c.Payload, Details: c.Caller.Details()}, nil
	case c.Procedure.Name == "greet":
		args, err := json.Marshal([]string{greeting})
		return &core.Result{Payload: core.Payload{Args: args}}, err
	}
	return nil, core.Errorf(core.NoSuchProcedure, "nobody has registered %s", c.Procedure)
}

// invoke passes a call on to the bridge and waits for its answer, which kit.Calls sees to.
func invoke(ctx context.Context, callee *kit.Calls, c *core.Call) (*core.Result, error) {
	type answer struct {
		result *core.Result
		err    error
	}
	answers := make(chan answer, 1)
	inv := &core.Invocation{
		Procedure: c.Procedure,
		Payload:   c.Payload,
		Details:   c.Caller.Details(),
		Canceled:  ctx.Done(),
		Reply:     func(result *core.Result, err error) { answers <- answer{result, err} },
	}
	if deadline, ok := ctx.Deadline(); ok {
		inv.Timeout = time.Until(deadline)
	}
	callee.Put(inv)
	select {
	case a := <-answers:
		return a.result, a.err
	case <-ctx.Done():
		return nil, core.AsError(ctx.Err())
	}
}

// Status implements core.Backend.
func (b *echo) Status(context.Context) (core.Status, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	st := core.Status{State: core.Up, Counters: map[string]int64{"events": int64(b.lastID), "subscriptions_now": int64(len(b.subs))}}
	if b.isClosed() {
		st.State, st.Reason = core.Down, "closed"
	}
	return st, nil
}

// Close implements core.Backend.
func (b *echo) Close(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed == nil || b.isClosed() {
		return nil
	}
	close(b.closed)
	for _, sub := range b.subs {
		sub.End(nil)
	}
	for _, callee := range b.procedures {
		callee.End() // answers what is open
	}
	return nil
}
