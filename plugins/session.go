package plugins

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/anybridge/anybridge/core"
)

// session is one process with an open backend on it, from its start to its death.
type session struct {
	*client
	process *process

	stopPing context.CancelFunc
	watchers sync.WaitGroup
}

// startSession starts a process and opens its backend.
func (p *Plugin) startSession(ctx context.Context, config json.RawMessage) (*session, core.Info, error) {
	limits := p.spec.Limits
	ctx, cancel := context.WithTimeout(ctx, limits.StartTimeout)
	defer cancel()
	proc, err := startProcess(ctx, p.spec, p.log)
	if err != nil {
		return nil, core.Info{}, err
	}
	s := &session{process: proc, client: newClient(p.spec.Name, limits, proc.conn, p.subs, p.regs)}
	info, err := s.open(ctx, config)
	if err == nil {
		err = s.run()
	}
	if err != nil {
		died := core.CodeOf(err) == core.Unavailable && proc.child.exitedSoon()
		proc.kill()
		if died {
			err = core.Errorf(core.Unavailable, "backend %q: plugin %s died while it was opened (%s)", p.spec.Name, proc.child.cmd.Path, proc.child.lastWords())
		}
		return nil, core.Info{}, err
	}
	pingCtx, stopPing := context.WithCancel(context.Background())
	s.stopPing = stopPing
	s.watchers.Go(s.watchExit)
	if limits.PingEvery > 0 {
		s.watchers.Go(func() { s.pingAgain(pingCtx, limits.PingEvery, limits.PingTimeout) })
	}
	return s, info, nil
}

// watchExit makes the process's death the client's failure, at once.
func (s *session) watchExit() {
	select {
	case <-s.process.child.exited:
		s.fail(core.Errorf(core.Unavailable, "the process died"))
	case <-s.failed:
	}
}

func (s *session) pingAgain(ctx context.Context, every, timeout time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := s.process.ping(ctx, timeout); err != nil {
				s.fail(err)
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// bury removes what is left after a failure and returns what happened, for people.
func (s *session) bury() string {
	died := s.process.child.exitedSoon()
	s.end(s.process.kill)
	if died {
		return s.process.child.lastWords()
	}
	return "killed: " + s.failure.Error()
}

// stop closes the backend, as long as ctx allows, and then the process. A process
// that dies meanwhile is as good as closed.
func (s *session) stop(ctx context.Context, log *slog.Logger) error {
	err := s.finish(ctx)
	switch {
	case core.CodeOf(err) == core.Unavailable && s.process.child.exitedSoon():
		log.Warn("plugin process died before it was closed", slog.String("reason", s.process.child.lastWords()))
		err = nil
	case err != nil:
		log.Warn("backend not closed properly", slog.Any("error", err))
	}
	s.end(s.process.stop)
	return err
}

func (s *session) end(stop func()) {
	s.stopPing()
	stop()
	s.streams.Wait()
	s.watchers.Wait()
}
