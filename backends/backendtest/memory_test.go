package backendtest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/core"
)

var testingContext = context.Background()

// memory is a backend for the hub. It is right, unless its configuration names a
// fault.
type memory struct {
	log *slog.Logger

	config  memoryConfig
	stop    context.CancelFunc
	wg      sync.WaitGroup
	closed  atomic.Bool
	dropped atomic.Int64

	mu       sync.Mutex
	up       net.Conn // nil while the hub is away
	out      *core.Pipe[message]
	since    time.Time // when the hub went away
	lastID   int
	waiting  map[string]chan message
	subs     map[core.Pattern]*memorySub
	regs     map[core.Pattern]*memoryReg
	canceled map[string]chan struct{}
	held     *core.Event // fault "order"
}

type memoryConfig struct {
	Hub    string `json:"hub"`
	Queue  int    `json:"queue"`
	Secret string `json:"secret"`
	Fault  string `json:"fault"`
}

type memorySub struct {
	*core.Pipe[*core.Event]
	lost  int64
	since time.Time
}

func newMemory(log *slog.Logger) core.Backend {
	return &memory{
		log: log, waiting: map[string]chan message{}, canceled: map[string]chan struct{}{},
		subs: map[core.Pattern]*memorySub{}, regs: map[core.Pattern]*memoryReg{},
	}
}

func (b *memory) fault(name string) bool { return b.config.Fault == name }

func (b *memory) Open(ctx context.Context, section json.RawMessage) (core.Info, error) {
	config := memoryConfig{Queue: 100_000}
	d := json.NewDecoder(bytes.NewReader(section))
	if os.Getenv(faultEnv) != "lax" {
		d.DisallowUnknownFields()
	}
	if err := d.Decode(&config); err != nil {
		return core.Info{}, core.Errorf(core.InvalidArgument, "config: %w", err)
	}
	if config.Hub == "" && config.Fault == "" {
		return core.Info{}, core.Errorf(core.InvalidArgument, "hub: is missing")
	}
	if b.stop != nil {
		if config != b.config {
			return core.Info{}, core.Errorf(core.Unimplemented, "another hub")
		}
		return b.info(), nil
	}
	b.config = config
	parent := context.Background()
	if b.fault("context") {
		parent = ctx
	}
	if b.fault("secret") {
		b.log.Info("open", slog.String("secret", config.Secret))
	}
	running, stop := context.WithCancel(parent)
	b.stop = stop
	first := make(chan struct{})
	b.wg.Go(func() { b.run(running, first) })
	select {
	case <-first:
	case <-time.After(3 * time.Second):
	case <-ctx.Done():
	}
	return b.info(), nil
}

func (b *memory) info() core.Info {
	all := []core.Match{core.Exact, core.Prefix, core.Wildcard}
	can := core.Capabilities{
		Publish: true, Subscribe: all, Call: true, Register: all, Retain: true,
		Invoke: []string{"single", "first", "last", "roundrobin"},
	}
	if b.fault("random") {
		can.Invoke = append(can.Invoke, "random")
	}
	return core.Info{Kind: "memory", Can: can}
}

// run keeps a connection.
func (b *memory) run(ctx context.Context, first chan struct{}) {
	for ctx.Err() == nil {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", b.config.Hub)
		if err == nil {
			b.connected(ctx, conn, first)
			first = nil
		}
		if first != nil {
			close(first)
			first = nil
		}
		select {
		case <-time.After(20*time.Millisecond + rand.N(20*time.Millisecond)):
		case <-ctx.Done():
		}
	}
}

func (b *memory) connected(ctx context.Context, conn net.Conn, first chan struct{}) {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	out := core.NewPipe[message](0, 0, nil)
	var writer sync.WaitGroup
	writer.Go(func() { writeAll(conn, out) })
	b.mu.Lock()
	b.up, b.out = conn, out
	if b.fault("gapless") { // and slow
		b.mu.Unlock()
		time.Sleep(300 * time.Millisecond)
		b.mu.Lock()
	}
	for p := range b.subs {
		if !b.fault("forgets") {
			b.send(message{Op: "subscribe", Name: p.Name, Match: p.Match})
		}
	}
	for p, r := range b.regs {
		b.send(message{Op: "register", Name: p.Name, Match: p.Match, Invoke: r.invoke})
	}
	if !b.since.IsZero() {
		for p, s := range b.subs {
			if !b.fault("gapless") {
				s.TryPut(&core.Event{Topic: p.Address, Gap: &core.Gap{Since: b.since, Until: time.Now(), Reason: "the hub was away"}}, 1)
			}
		}
	}
	b.mu.Unlock()
	if first != nil {
		close(first)
	}
	in := json.NewDecoder(conn)
	for {
		var m message
		if in.Decode(&m) != nil {
			break
		}
		b.mu.Lock()
		b.handle(m)
		b.mu.Unlock()
	}
	_ = conn.Close()
	out.End(nil)
	writer.Wait()
	b.mu.Lock()
	b.up, b.out, b.since = nil, nil, time.Now()
	for id, c := range b.waiting {
		if !b.fault("hangs") {
			delete(b.waiting, id)
			c <- message{Code: core.Unavailable, Text: "the connection broke"}
		}
	}
	for id, c := range b.canceled {
		delete(b.canceled, id)
		close(c)
	}
	b.mu.Unlock()
}

// send sends if there is a connection. b.mu is held.
func (b *memory) send(m message) bool { return b.out != nil && b.out.TryPut(m, 1) }

// handle takes what the hub says. b.mu is held.
func (b *memory) handle(m message) {
	p := core.Pattern{Address: core.Address{Backend: "test", Name: m.As}, Match: m.Match}
	switch m.Op {
	case "reply":
		if c := b.waiting[m.ID]; c != nil {
			delete(b.waiting, m.ID)
			c <- m
		}
	case "event":
		e := &core.Event{ID: m.ID, Topic: core.Address{Backend: "test", Name: m.Name}, Payload: core.Payload{Args: m.Args, Kwargs: m.Kwargs}, Time: time.Now()}
		if b.fault("topic") {
			e.Topic = p.Address
		}
		if s := b.subs[p]; s != nil {
			b.deliver(p, s, e)
		}
	case "invocation":
		if r := b.regs[p]; r != nil {
			r.invoke1(m)
			return
		}
		b.send(message{Op: "answer", ID: m.ID, Code: core.Unavailable, Text: "not registered any more"})
	case "cancel":
		if c := b.canceled[m.ID]; c != nil && !b.fault("cancel") {
			delete(b.canceled, m.ID)
			close(c)
		}
	}
}

func (b *memory) deliver(p core.Pattern, s *memorySub, e *core.Event) {
	if b.fault("order") && rand.N(20) == 0 && b.held == nil {
		b.held = e
		return
	}
	if b.fault("loses") && rand.N(50) == 0 {
		return
	}
	if s.lost > 0 && s.TryPut(&core.Event{Topic: p.Address, Gap: &core.Gap{Since: s.since, Until: time.Now(), Lost: s.lost, Reason: "the queue was full"}}, 1) {
		s.lost = 0
	}
	switch {
	case b.fault("blocks"):
		_ = s.Put(context.Background(), e, e.Size())
	case s.lost > 0 || !s.TryPut(e, e.Size()):
		if s.lost == 0 {
			s.since = time.Now()
		}
		if !b.fault("overflow") {
			s.lost++
			b.dropped.Add(1)
		}
	}
	if held := b.held; held != nil {
		b.held = nil
		b.deliver(p, s, held)
	}
}

// ask sends a request and waits for its reply.
func (b *memory) ask(ctx context.Context, m message) (message, error) {
	b.mu.Lock()
	b.lastID++
	m.ID = strconv.Itoa(b.lastID)
	reply := make(chan message, 1)
	if b.closed.Load() || !b.send(m) {
		b.mu.Unlock()
		return message{}, core.Errorf(core.Unavailable, "the hub is away")
	}
	b.waiting[m.ID] = reply
	b.mu.Unlock()
	select {
	case r := <-reply:
		if r.Code != "" {
			return r, &core.Error{Code: r.Code, Message: r.Text, URI: r.URI, Payload: core.Payload{Args: r.Args, Kwargs: r.Kwargs}}
		}
		return r, nil
	case <-ctx.Done():
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.waiting, m.ID)
		if m.Op == "call" {
			b.send(message{Op: "cancel", ID: m.ID})
		}
		return message{}, core.AsError(ctx.Err())
	}
}

func (b *memory) Publish(ctx context.Context, e *core.Event) error {
	if b.fault("zombie") && b.closed.Load() {
		return nil
	}
	if e.Size() > 8<<20 {
		return core.Errorf(core.TooLarge, "an event of %d bytes", e.Size())
	}
	r, err := b.ask(ctx, message{Op: "publish", Name: e.Topic.Name, Args: e.Args, Kwargs: e.Kwargs, Retain: e.Options.Retain && !b.fault("retain")})
	if b.fault("queues") && core.CodeOf(err) == core.Unavailable {
		later := *e
		b.wg.Go(func() {
			for !b.closed.Load() && b.Publish(testingContext, &later) != nil {
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	if err != nil {
		return err
	}
	e.ID = r.Text
	if b.fault("echo") {
		b.mu.Lock()
		defer b.mu.Unlock()
		for p, s := range b.subs {
			if p.Matches(e.Topic) {
				own := *e
				s.TryPut(&own, 1)
			}
		}
	}
	return nil
}

func (b *memory) Subscribe(ctx context.Context, p core.Pattern) (core.Stream[*core.Event], error) {
	s := &memorySub{}
	s.Pipe = core.NewPipe[*core.Event](b.config.Queue, 0, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.subs, p)
		if !b.fault("subscribed") {
			b.send(message{Op: "unsubscribe", ID: "-", Name: p.Name, Match: p.Match})
		}
	})
	b.mu.Lock()
	b.subs[p] = s
	b.mu.Unlock()
	if _, err := b.ask(ctx, message{Op: "subscribe", Name: p.Name, Match: p.Match}); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func (b *memory) Call(ctx context.Context, c *core.Call) (*core.Result, error) {
	if c.Size() > 8<<20 {
		return nil, core.Errorf(core.TooLarge, "a call of %d bytes", c.Size())
	}
	r, err := b.ask(ctx, message{Op: "call", Name: c.Procedure.Name, Args: c.Args, Kwargs: c.Kwargs})
	if err != nil {
		return nil, err
	}
	return &core.Result{Payload: core.Payload{Args: r.Args, Kwargs: r.Kwargs}}, nil
}

// memoryReg is a registration: it knows which invocations nobody has taken.
type memoryReg struct {
	*core.Pipe[*core.Invocation]
	b      *memory
	invoke string
	mu     sync.Mutex
	idle   []*core.Invocation
}

func (b *memory) Register(ctx context.Context, p core.Pattern, o core.RegisterOptions) (core.Stream[*core.Invocation], error) {
	r := &memoryReg{b: b, invoke: o.Invoke}
	if r.invoke == "" {
		r.invoke = "single"
	}
	r.Pipe = core.NewPipe[*core.Invocation](b.config.Queue, 0, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.regs[p] == r {
			delete(b.regs, p)
			b.send(message{Op: "unregister", ID: "-", Name: p.Name, Match: p.Match})
		}
	})
	if _, err := b.ask(ctx, message{Op: "register", Name: p.Name, Match: p.Match, Invoke: r.invoke}); err != nil {
		if ctx.Err() != nil { // it may have been done
			b.mu.Lock()
			b.send(message{Op: "unregister", ID: "-", Name: p.Name, Match: p.Match})
			b.mu.Unlock()
		}
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.regs[p] = r
	return r, nil
}

// invoke1 hands an invocation to the stream. b.mu is held.
func (r *memoryReg) invoke1(m message) {
	canceled := make(chan struct{})
	r.b.canceled[m.ID] = canceled
	var once sync.Once
	inv := &core.Invocation{
		ID: m.ID, Procedure: core.Address{Backend: "test", Name: m.Name}, Payload: core.Payload{Args: m.Args, Kwargs: m.Kwargs}, Canceled: canceled,
		Reply: func(result *core.Result, err error) { once.Do(func() { r.b.answer(m.ID, result, err) }) },
	}
	r.mu.Lock()
	r.idle = append(r.idle, inv)
	r.mu.Unlock()
	r.TryPut(inv, 1)
}

func (b *memory) answer(id string, result *core.Result, err error) {
	m := message{Op: "answer", ID: id}
	if err != nil {
		e := core.AsError(err)
		m.Code, m.Text, m.URI, m.Args, m.Kwargs = e.Code, e.Message, e.URI, e.Args, e.Kwargs
	} else if result != nil {
		m.Args, m.Kwargs = result.Args, result.Kwargs
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.canceled, id)
	b.send(m)
}

func (r *memoryReg) Next(ctx context.Context) ([]*core.Invocation, error) {
	batch, err := r.Pipe.Next(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.idle = slices.DeleteFunc(r.idle, func(inv *core.Invocation) bool { return slices.Contains(batch, inv) })
	return batch, err
}

func (r *memoryReg) Close() error {
	err := r.Pipe.Close()
	r.mu.Lock()
	idle := r.idle
	r.idle = nil
	r.mu.Unlock()
	for _, inv := range idle {
		inv.Reply(nil, core.Errorf(core.Unavailable, "not registered any more"))
	}
	return err
}

func (b *memory) Status(context.Context) (core.Status, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	st := core.Status{State: core.Connecting, Reason: "the hub is away", Counters: map[string]int64{"subscriptions_now": int64(len(b.subs))}}
	if b.up != nil {
		st.State, st.Reason = core.Up, ""
	}
	if b.closed.Load() {
		st.State, st.Reason = core.Down, "closed"
	}
	return st, nil
}

func (b *memory) Close(context.Context) error {
	if b.closed.Swap(true) {
		return nil
	}
	if b.fault("close") {
		select {}
	}
	if b.stop == nil {
		return nil
	}
	if b.fault("leak") {
		go func() { time.Sleep(time.Minute) }()
	}
	b.stop()
	b.wg.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.subs {
		if b.fault("end") {
			s.End(errors.New("closed"))
		}
		s.End(nil)
	}
	for _, r := range b.regs {
		r.End(nil)
	}
	for id, c := range b.canceled {
		delete(b.canceled, id)
		close(c)
	}
	return nil
}

func memorySection(addr, fault string, queue int) json.RawMessage {
	return fmt.Appendf(nil, `{"hub":%q,"secret":"Pa55word","fault":%q,"queue":%d}`, addr, fault, queue)
}
