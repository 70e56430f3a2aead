package plugins

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/core"
)

var _ core.Backend = (*Plugin)(nil)

// Plugin is a backend that runs in a process of its own and survives the death of
// that process: a supervisor starts it again, opens it with the same configuration and
// renews every subscription and registration. The streams that Subscribe and Register
// have returned simply go on. It is safe for concurrent use.
//
// While the process is down, Call and Publish fail at once with Unavailable and a
// RetryAfter. What was in flight when it died fails with Unavailable too: whether the
// system has got it is not known. Invocations that were not answered yet are
// canceled, and replies to them ignored. Events that the system sent meanwhile are lost.
type Plugin struct {
	spec Spec
	log  *slog.Logger
	subs *feedTable[*core.Event]
	regs *feedTable[*core.Invocation]

	live atomic.Pointer[session] // nil while the process is down

	reopens chan *reopen
	closes  chan context.Context
	closing chan struct{} // closed by the first Close
	close   sync.Once
	done    chan struct{} // closed when the supervisor has ended
	closed  error         // what closing the backend came to; set before done

	failures int // deaths and failed starts in a row; the supervisor's own

	mu     sync.Mutex
	config json.RawMessage
	info   core.Info
	status ProcessStatus
	retry  time.Time // when the next start is due
}

// Launch starts the process, opens the backend and supervises it until Close. ctx bounds
// the start only. A first start that fails is not tried again: its error says what
// to mend. Log gets what the plugin logs, with the attribute backend, and what
// happens to the process.
func Launch(ctx context.Context, spec Spec, log *slog.Logger) (*Plugin, error) {
	if err := spec.validate(); err != nil {
		return nil, err
	}
	spec.Limits = spec.Limits.withDefaults()
	log = log.With(slog.String("backend", spec.Name))
	dropped := func(inv *core.Invocation) {
		inv.Reply(nil, core.Errorf(core.Unavailable, "%s is not served any more", inv.Procedure))
	}
	p := &Plugin{
		spec:    spec,
		log:     log,
		subs:    newFeedTable(spec.Limits, eventSize, nil, log),
		regs:    newFeedTable(spec.Limits, invocationSize, dropped, log),
		reopens: make(chan *reopen),
		closes:  make(chan context.Context),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
		config:  spec.Config,
	}
	p.subs.gap = processGap
	s, info, err := p.startSession(ctx, spec.Config)
	if err != nil {
		return nil, err
	}
	p.attach(s, info)
	log.Info("plugin process started", slog.String("path", s.process.child.cmd.Path), slog.Int64("pid", s.process.child.pid.Load()))
	go p.supervise(s)
	return p, nil
}

// Info is what the backend said of itself when it was opened last.
func (p *Plugin) Info() core.Info {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.info
}

// Open applies a changed configuration. The backend applies it in place if it can;
// if it answers Unimplemented, or the process is down, a process is started with
// the new configuration and takes over all subscriptions and registrations. If that
// refuses the configuration, the former one stays and Open returns the error.
func (p *Plugin) Open(ctx context.Context, config json.RawMessage) (core.Info, error) {
	r := &reopen{ctx: ctx, config: config, done: make(chan error, 1)}
	select {
	case p.reopens <- r:
	case <-p.done:
		return core.Info{}, p.isClosed()
	case <-ctx.Done():
		return core.Info{}, core.AsError(ctx.Err())
	}
	if err := <-r.done; err != nil {
		return core.Info{}, err
	}
	return p.Info(), nil
}

// Publish implements core.Backend.
func (p *Plugin) Publish(ctx context.Context, e *core.Event) error {
	s := p.live.Load()
	if s == nil {
		return p.unavailable()
	}
	return s.publish(ctx, e)
}

// PublishBatch implements core.BatchPublisher.
func (p *Plugin) PublishBatch(ctx context.Context, events []*core.Event) []error {
	s := p.live.Load()
	if s == nil {
		errs := make([]error, len(events))
		for i := range errs {
			errs[i] = p.unavailable()
		}
		return errs
	}
	return s.publishBatch(ctx, events)
}

// Call implements core.Backend.
func (p *Plugin) Call(ctx context.Context, c *core.Call) (*core.Result, error) {
	s := p.live.Load()
	if s == nil {
		return nil, p.unavailable()
	}
	return s.call(ctx, c)
}

// Subscribe implements core.Backend. While the process is down it waits for the
// next one until ctx ends, at most for Limits.StartTimeout. If after a restart the
// backend refuses the subscription for a reason that passes, it is asked again;
// otherwise the stream ends with that error.
func (p *Plugin) Subscribe(ctx context.Context, pattern core.Pattern) (core.Stream[*core.Event], error) {
	f, err := p.subs.add(ctx, pattern, "")
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Register implements core.Backend. Restarts are handled as for Subscribe. A
// procedure that somebody else has after a restart is asked for again for one
// minute.
func (p *Plugin) Register(ctx context.Context, pattern core.Pattern, o core.RegisterOptions) (core.Stream[*core.Invocation], error) {
	f, err := p.regs.add(ctx, pattern, o.Invoke)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// statusTimeout bounds how long a backend may think about how it is.
const statusTimeout = 2 * time.Second

// Status implements core.Backend. It never fails: while the process is down, or
// does not answer, that is the status.
func (p *Plugin) Status(ctx context.Context) (core.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	s := p.live.Load()
	if s == nil {
		process := p.Process()
		return core.Status{State: process.State, Reason: process.reason()}, nil
	}
	status, err := s.client.status(ctx)
	if err != nil {
		return core.Status{State: core.Down, Reason: "the plugin does not tell its status: " + err.Error()}, nil
	}
	return status, nil
}

// Close implements core.Backend: it drains and closes the backend as long as ctx
// allows (Limits.StopTimeout if it has no deadline), ends all streams, and stops
// the process and its children. Nothing of it is left when Close returns.
func (p *Plugin) Close(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.spec.Limits.StopTimeout)
		defer cancel()
	}
	p.close.Do(func() { close(p.closing) })
	select {
	case p.closes <- ctx:
	case <-p.done:
	}
	<-p.done
	return p.closed
}

// unavailable is why there is no process to ask.
func (p *Plugin) unavailable() error {
	select {
	case <-p.closing:
		return p.isClosed()
	default:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return &core.Error{
		Code:       core.Unavailable,
		Message:    "backend \"" + p.spec.Name + "\" is being restarted" + because(p.status.LastExit),
		RetryAfter: max(time.Until(p.retry), 0).Round(100*time.Millisecond) + time.Second,
	}
}

func (p *Plugin) isClosed() error {
	return core.Errorf(core.Unavailable, "backend %q is closed", p.spec.Name)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " after: " + clip(reason, 200)
}
