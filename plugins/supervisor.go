package plugins

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/anybridge/anybridge/core"
)

// reopen asks the supervisor for another configuration.
type reopen struct {
	ctx    context.Context //nolint:containedctx // of the one who waits for done
	config json.RawMessage
	done   chan error // gets one answer
}

// supervise owns the process from its first start to Close. It is the only one who
// starts, stops and replaces sessions.
func (p *Plugin) supervise(s *session) {
	defer close(p.done)
	for s != nil {
		select {
		case <-s.failed:
			if time.Since(s.process.started) >= p.spec.Limits.StableAfter {
				p.failures = 0
			}
			p.detach(core.Connecting, "")
			reason := s.bury()
			p.log.Error("plugin process died", slog.String("reason", reason), slog.Int64("pid", s.process.child.pid.Load()))
			p.detach(core.Connecting, reason)
			s = p.restart()
		case r := <-p.reopens:
			s = p.reconfigure(s, r)
		case ctx := <-p.closes:
			p.detach(core.Down, "closed")
			p.closed = s.stop(ctx, p.log)
			s = nil
		}
	}
	p.subs.end(p.isClosed())
	p.regs.end(p.isClosed())
	p.detach(core.Down, "closed")
}

// attach makes a session the one that everything goes to. Who finds the process up finds
// the session, too.
func (p *Plugin) attach(s *session, info core.Info) {
	p.subs.attach(s.subOutbox)
	p.regs.attach(s.regOutbox)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.info = info
	if !p.status.Started.IsZero() {
		p.status.Restarts++
	}
	p.status.State = core.Up
	p.status.PID = int(s.process.child.pid.Load())
	p.status.Started = s.process.started
	p.live.Store(s)
}

// detach lets nothing go to a session any more.
func (p *Plugin) detach(state core.State, reason string) {
	p.live.Store(nil)
	p.subs.detach()
	p.regs.detach()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.State = state
	p.status.PID = 0
	if reason != "" {
		p.status.LastExit = reason
	}
}

// reconfigure hands the backend another configuration, or replaces the process. It
// returns the session that goes on, nil after Close.
func (p *Plugin) reconfigure(s *session, r *reopen) *session {
	opening, done := p.starting(r.ctx)
	opening, stop := until(opening, s.failed)
	info, err := s.open(opening, r.config)
	stop()
	done()
	if core.CodeOf(err) != core.Unimplemented {
		if err == nil {
			p.mu.Lock()
			p.config, p.info = r.config, info
			p.mu.Unlock()
		}
		r.done <- err
		return s
	}
	p.log.Info("replacing the plugin process for a changed configuration")
	p.detach(core.Connecting, "replaced for a changed configuration")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), p.spec.Limits.StopTimeout)
	defer cancel()
	_ = s.stop(ctx, p.log)
	if s := p.startWith(r); s != nil {
		return s
	}
	p.failures = 0
	return p.restart()
}

// startWith starts a session with the configuration that was asked for, and
// answers. It returns nil if that failed.
func (p *Plugin) startWith(r *reopen) *session {
	ctx, cancel := p.starting(r.ctx)
	defer cancel()
	s, info, err := p.startSession(ctx, r.config)
	if err == nil {
		p.mu.Lock()
		p.config = r.config
		p.mu.Unlock()
		p.attach(s, info)
	}
	r.done <- err
	return s
}

// restart starts sessions until one comes up: the first at once, the next after
// growing pauses. It returns nil after Close.
func (p *Plugin) restart() *session {
	for {
		if s, again := p.pause(); !again {
			return s
		}
		p.failures++
		p.setState(core.Connecting)
		s, err := p.startAgain()
		if err == nil {
			return s
		}
		p.log.Error("plugin process not started", slog.Any("error", err), slog.Int("failures", p.failures))
		p.detach(core.Down, err.Error())
	}
}

// pause waits until the next start is due. If meanwhile a process has been started
// with another configuration, or Close was called, again is false and s what there
// is now: that session, or nil.
func (p *Plugin) pause() (s *session, again bool) {
	wait := time.Duration(0)
	if p.failures > 0 {
		wait = backoff(p.spec.Limits.BackoffMin, p.spec.Limits.BackoffMax, p.failures-1)
	}
	p.mu.Lock()
	p.retry = time.Now().Add(wait)
	p.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return nil, true
		case r := <-p.reopens:
			if s := p.startWith(r); s != nil {
				return s, false
			}
		case <-p.closes:
			return nil, false
		}
	}
}

// startAgain starts a session with the present configuration; Close interrupts it.
func (p *Plugin) startAgain() (*session, error) {
	p.mu.Lock()
	config := p.config
	p.mu.Unlock()
	ctx, cancel := p.starting(context.Background())
	defer cancel()
	s, info, err := p.startSession(ctx, config)
	if err != nil {
		return nil, err
	}
	p.attach(s, info)
	p.log.Info("plugin process restarted", slog.Int64("pid", s.process.child.pid.Load()))
	return s, nil
}

// starting bounds what may not hold up Close.
func (p *Plugin) starting(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, p.spec.Limits.StartTimeout)
	ctx, stop := until(ctx, p.closing)
	return ctx, func() { stop(); cancel() }
}

// until is ctx, which ends with stop too.
func until(ctx context.Context, stop <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(); <-done }
}

func (p *Plugin) setState(state core.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.State = state
}
