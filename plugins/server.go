package plugins

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/internal/pb"
)

// server is the plugin's side of the wire: it turns what the host asks into calls
// of the author's backend. A panic in a method of the backend is that one
// request's Internal error, and goes to the log with its stack.
type server struct {
	pb.UnimplementedBackendServer

	newBackend func(Env) core.Backend
	env        Env
	log        *slog.Logger

	publishes   gate
	calls       gate
	invocations gate

	mu      sync.Mutex
	backend core.Backend // nil until Open has succeeded
	name    string
	maxItem int
	closed  bool
}

// Open implements pb.BackendServer.
func (s *server) Open(ctx context.Context, r *pb.OpenRequest) (*pb.OpenResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errorToStatus(errClosed())
	}
	backend := s.backend
	if backend == nil {
		err := s.guard("new", func() error {
			backend = s.newBackend(s.env)
			return nil
		})
		if err != nil {
			return nil, errorToStatus(err)
		}
	}
	var info core.Info
	err := s.guard("open", func() (err error) {
		info, err = backend.Open(ctx, raw(r.GetConfig()))
		return err
	})
	if err != nil {
		return nil, errorToStatus(err)
	}
	limit := int(r.GetMaxInFlight())
	s.publishes.setLimit(limit)
	s.calls.setLimit(limit)
	s.invocations.setLimit(limit)
	s.backend, s.name, s.maxItem = backend, r.GetName(), int(r.GetMaxEntryBytes())
	return infoToPB(info), nil
}

// opened returns what Open has set.
func (s *server) opened() (backend core.Backend, name string, maxItem int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.backend == nil {
		return nil, "", 0, errorToStatus(core.Errorf(core.Unavailable, "the backend has not been opened"))
	}
	return s.backend, s.name, s.maxItem, nil
}

// Status implements pb.BackendServer.
func (s *server) Status(ctx context.Context, _ *pb.StatusRequest) (*pb.StatusResponse, error) {
	backend, _, _, err := s.opened()
	if err != nil {
		return nil, err
	}
	var status core.Status
	err = s.guard("status", func() (err error) {
		status, err = backend.Status(ctx)
		return err
	})
	if err != nil {
		return nil, errorToStatus(err)
	}
	m := &pb.StatusResponse{State: text(string(status.State)), Reason: text(status.Reason)}
	if len(status.Counters) > 0 {
		m.Counters = make(map[string]int64, len(status.Counters))
		for name, n := range status.Counters {
			m.Counters[text(name)] = n
		}
	}
	return m, nil
}

// Close implements pb.BackendServer.
func (s *server) Close(ctx context.Context, _ *pb.CloseRequest) (*pb.CloseResponse, error) {
	if err := s.close(ctx); err != nil {
		return nil, errorToStatus(err)
	}
	return &pb.CloseResponse{}, nil
}

// close lets what is in flight come to its end for half of the time there is, then
// closes the backend. Only the first close does anything.
func (s *server) close(ctx context.Context) error {
	s.mu.Lock()
	backend, first := s.backend, !s.closed
	s.closed = true
	s.mu.Unlock()
	if backend == nil || !first {
		return nil
	}
	draining, cancel := ctx, context.CancelFunc(func() {})
	if deadline, ok := ctx.Deadline(); ok {
		draining, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
	}
	defer cancel()
	s.publishes.drain(draining)
	s.calls.drain(draining)
	return s.guard("close", func() error { return backend.Close(ctx) })
}

// guard calls a method of the backend and turns a panic into an error.
func (s *server) guard(method string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = s.panicked(method, r)
		}
	}()
	return f()
}

func (s *server) panicked(method string, r any) error {
	s.log.Error("backend panicked", slog.String("method", method), slog.String("panic", fmt.Sprint(r)), slog.String("stack", string(debug.Stack())))
	return core.Errorf(core.Internal, "the backend panicked; its log has the stack")
}

func errClosed() *core.Error { return core.Errorf(core.Unavailable, "the backend is closed") }
