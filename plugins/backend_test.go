package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/anybridge/anybridge/core"
)

// testBackend is a system in memory with one other member, who repeats what is
// published to a topic under "echo." and the topic. It has procedures of its own with
// which tests make a plugin misbehave.
type testBackend struct {
	env Env

	mu       sync.Mutex
	config   testConfig
	subs     map[core.Pattern]*core.Pipe[*core.Event]
	regs     map[core.Pattern]*core.Pipe[*core.Invocation]
	counters map[string]int64
	arrived  int
	everyone chan struct{} // closed when as many calls of "barrier" are there as it takes
	closed   chan struct{}
}

type testConfig struct {
	Label     string `json:"label"`
	Refuse    bool   `json:"refuse"`     // the configuration
	Die       bool   `json:"die"`        // in Open
	Replace   bool   `json:"replace"`    // Open on an open backend is Unimplemented
	CodeFile  string `json:"code_file"`  // if it exists, feeds are refused with the code in it
	SlowClose bool   `json:"slow_close"` // Close waits for its context
	PipeItems int    `json:"pipe_items"`
}

func newTestBackend(env Env) *testBackend {
	return &testBackend{
		env:      env,
		subs:     map[core.Pattern]*core.Pipe[*core.Event]{},
		regs:     map[core.Pattern]*core.Pipe[*core.Invocation]{},
		counters: map[string]int64{},
		everyone: make(chan struct{}),
		closed:   make(chan struct{}),
	}
}

func (b *testBackend) Open(_ context.Context, raw json.RawMessage) (core.Info, error) {
	config := testConfig{PipeItems: 1 << 20}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &config); err != nil {
			return core.Info{}, core.Errorf(core.InvalidArgument, "read config: %w", err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counters["opens"]++
	switch {
	case b.counters["opens"] > 1 && config.Replace:
		return core.Info{}, core.Errorf(core.Unimplemented, "cannot change that in place")
	case config.Refuse:
		return core.Info{}, core.Errorf(core.InvalidArgument, "refuse: is set")
	case config.Die:
		panicElsewhere("died in Open")
	}
	b.config = config
	all := []core.Match{core.Exact, core.Prefix, core.Wildcard}
	return core.Info{
		Kind:   "test",
		Listen: []string{"test://" + config.Label},
		Can: core.Capabilities{
			Publish: true, Subscribe: all, Call: true, Register: all[:1], Invoke: []string{"roundrobin"}, Retain: true,
		},
	}, nil
}

func (b *testBackend) count(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counters[name]++
}

func (b *testBackend) Publish(ctx context.Context, e *core.Event) error {
	switch e.Topic.Name {
	case "refused":
		return core.Errorf(core.Forbidden, "not this topic")
	case "panic":
		panic("publish panics")
	case "block":
		b.count("blocked")
		<-ctx.Done()
		b.count("unblocked")
		return core.AsError(ctx.Err())
	}
	repeated := *e
	repeated.Topic.Name = "echo." + e.Topic.Name
	e.ID = b.eventID()
	e.Withheld = e.Topic.Name == "withheld"
	return b.emit(ctx, &repeated)
}

func (b *testBackend) eventID() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counters["events"]++
	return fmt.Sprintf("event-%d", b.counters["events"])
}

// emit hands an event of the other member to the subscriptions.
func (b *testBackend) emit(ctx context.Context, e *core.Event) error {
	e.ID = b.eventID()
	b.mu.Lock()
	var to []*core.Pipe[*core.Event]
	for p, s := range b.subs {
		if p.Matches(e.Topic) {
			to = append(to, s)
		}
	}
	b.mu.Unlock()
	for _, s := range to {
		if err := s.Put(ctx, e, e.Size()); err != nil && ctx.Err() != nil {
			return core.AsError(err)
		}
	}
	return nil
}

// refusal is the error that the code file asks for. b.mu is held.
func (b *testBackend) refusal() error {
	if b.config.CodeFile == "" {
		return nil
	}
	code, err := os.ReadFile(b.config.CodeFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	b.counters["refusals"]++
	return core.Errorf(core.Code(code), "refused by the test")
}

func (b *testBackend) Subscribe(_ context.Context, p core.Pattern) (core.Stream[*core.Event], error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refusal(); err != nil {
		return nil, err
	}
	if b.subs[p] != nil {
		return nil, core.Errorf(core.AlreadyExists, "%s is subscribed", p)
	}
	s := core.NewPipe[*core.Event](b.config.PipeItems, 0, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.subs, p)
	})
	b.subs[p] = s
	if strings.HasPrefix(p.Name, "echo.confirmed") {
		return &confirmedStream{s, b}, nil
	}
	return s, nil
}

// confirmedStream counts what is confirmed.
type confirmedStream struct {
	*core.Pipe[*core.Event]
	b *testBackend
}

func (s *confirmedStream) Confirm(n int) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.b.counters["confirmed"] += int64(n)
}

func (b *testBackend) Register(_ context.Context, p core.Pattern, o core.RegisterOptions) (core.Stream[*core.Invocation], error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refusal(); err != nil {
		return nil, err
	}
	if b.regs[p] != nil {
		return nil, core.Errorf(core.AlreadyExists, "%s is registered", p)
	}
	b.counters["invoke_"+o.Invoke]++
	s := core.NewPipe[*core.Invocation](b.config.PipeItems, 0, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.regs, p)
	})
	b.regs[p] = s
	return s, nil
}

func (b *testBackend) Call(ctx context.Context, c *core.Call) (*core.Result, error) {
	b.mu.Lock()
	callee := b.regs[core.Pattern{Address: c.Procedure, Match: core.Exact}]
	b.mu.Unlock()
	if callee != nil {
		return b.invoke(ctx, callee, c)
	}
	return b.builtin(ctx, c)
}

func (b *testBackend) invoke(ctx context.Context, callee *core.Pipe[*core.Invocation], c *core.Call) (*core.Result, error) {
	type answer struct {
		result *core.Result
		err    error
	}
	answers := make(chan answer, 1)
	inv := &core.Invocation{
		ID: "inv-1", Procedure: c.Procedure, Payload: c.Payload, Details: c.Caller.Details(), Canceled: ctx.Done(),
		Reply: func(r *core.Result, err error) {
			b.count("replies")
			select {
			case answers <- answer{r, err}:
			default:
			}
		},
	}
	if deadline, ok := ctx.Deadline(); ok {
		inv.Timeout = time.Until(deadline)
	}
	if err := callee.Put(ctx, inv, inv.Size()); err != nil {
		return nil, core.Errorf(core.Unavailable, "%w", err)
	}
	select {
	case a := <-answers:
		return a.result, a.err
	case <-ctx.Done():
		return nil, core.AsError(ctx.Err())
	}
}

func (b *testBackend) builtin(ctx context.Context, c *core.Call) (*core.Result, error) {
	if c.Procedure.Name == "echo" {
		return &core.Result{Payload: c.Payload, Details: c.Caller.Details()}, nil
	}
	var arg []json.RawMessage
	_ = json.Unmarshal(c.Args, &arg)
	number := func() (n int) {
		if len(arg) > 0 {
			_ = json.Unmarshal(arg[0], &n)
		}
		return n
	}
	switch c.Procedure.Name {
	case "nothing":
		return nil, nil
	case "error":
		return nil, &core.Error{
			Code: core.Application, Message: "sold out", URI: "com.shop.sold_out", RetryAfter: 90 * time.Second,
			Payload: core.Payload{Args: json.RawMessage(`[9007199254740993]`), Kwargs: json.RawMessage(`{"b":1,"a":null}`)},
		}
	case "plain error":
		return nil, fmt.Errorf("not one of core's: \xff")
	case "panic":
		panic("call panics")
	case "crash":
		panicElsewhere("crashed as told")
	case "block":
		b.count("blocked")
		<-ctx.Done()
		b.count("unblocked")
		return nil, core.AsError(ctx.Err())
	case "barrier": // returns when so many are here
		b.mu.Lock()
		b.arrived++
		if b.arrived == number() {
			close(b.everyone)
		}
		b.mu.Unlock()
		select {
		case <-b.everyone:
		case <-ctx.Done():
			return nil, core.AsError(ctx.Err())
		}
		return &core.Result{}, nil
	case "until close":
		b.count("blocked")
		select {
		case <-b.closed:
		case <-ctx.Done():
		}
		return &core.Result{}, nil
	case "deadline":
		deadline, ok := ctx.Deadline()
		if !ok {
			return result("none"), nil
		}
		return result(time.Until(deadline).Milliseconds()), nil
	case "big":
		return &core.Result{Payload: core.Payload{Args: json.RawMessage(`["` + strings.Repeat("x", number()) + `"]`)}}, nil
	case "big event":
		event := &core.Event{Topic: core.Address{Backend: c.Procedure.Backend, Name: "big"}, Payload: core.Payload{Args: json.RawMessage(`["` + strings.Repeat("x", number()) + `"]`)}}
		return &core.Result{}, b.emit(ctx, event)
	case "flood": // so many events, in their own time
		go func(topic core.Address, n int) {
			for range n {
				event := &core.Event{Topic: topic, Payload: hundredBytes()}
				_ = b.emit(context.Background(), event)
			}
		}(core.Address{Backend: c.Procedure.Backend, Name: "flood"}, number())
		return &core.Result{}, nil
	case "pid":
		return result(os.Getpid()), nil
	case "environment":
		return result(os.Environ()), nil
	case "label":
		b.mu.Lock()
		defer b.mu.Unlock()
		return result(b.config.Label), nil
	case "stop": // like a process that hangs
		go func() { _ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) }()
		return &core.Result{}, nil
	case "spawn":
		cmd := exec.Command("sleep", "1000")
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		return result(cmd.Process.Pid), nil
	case "log":
		b.env.Log.Warn("a warning", slog.Int64("n", 9007199254740993), slog.Group("g", slog.Float64("x", 1.5), slog.Bool("ok", true)), slog.Any("list", []int{1, 2}), slog.String("msg", "twice"))
		b.env.Log.Debug("a debug line")
		log.Print("from package log")
		fmt.Println("from stdout")
		fmt.Fprintln(os.Stderr, `{"@level":"error","@message":"from hclog","who":"x"}`)
		_, _ = syscall.Write(2, []byte("plain text on stderr\n"))
		return &core.Result{}, nil
	}
	return nil, &core.Error{Code: core.NoSuchProcedure, Message: "no procedure " + c.Procedure.Name, URI: "wamp.error.no_such_procedure"}
}

func result(v any) *core.Result {
	args, err := json.Marshal([]any{v})
	if err != nil {
		panic(err)
	}
	return &core.Result{Payload: core.Payload{Args: args}}
}

// panicElsewhere takes the process down: Serve cannot catch what happens on a
// goroutine of the backend's own.
func panicElsewhere(why string) {
	go panic(why)
	select {}
}

func (b *testBackend) Status(context.Context) (core.Status, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	counters := map[string]int64{"subs_now": int64(len(b.subs)), "regs_now": int64(len(b.regs)), "pid_now": int64(os.Getpid())}
	for name, n := range b.counters {
		counters[name] = n
	}
	return core.Status{State: core.Up, Reason: b.config.Label, Counters: counters}, nil
}

func (b *testBackend) Close(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.env.Log.Info("test backend closes")
	close(b.closed)
	for _, s := range b.subs {
		s.End(nil)
	}
	for _, s := range b.regs {
		s.End(nil)
	}
	if b.config.SlowClose {
		<-ctx.Done()
		return core.AsError(ctx.Err())
	}
	return nil
}
