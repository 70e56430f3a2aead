package backendtest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins"
)

// backendName is what the suite calls every backend.
const backendName = "test"

// Run runs the suite: "direct" with the backend in this process, "plugin" with a
// process for each backend.
func Run(t *testing.T, s System) {
	t.Helper()
	s = s.withDefaults()
	switch {
	case s.New == nil && len(s.Command) == 0:
		t.Fatal("backendtest: System has neither New nor Command")
	case s.New == nil:
		t.Run("plugin", func(t *testing.T) { run(t, s, s.launch) })
		return
	}
	t.Run("direct", func(t *testing.T) { run(t, s, s.direct) })
	t.Run("plugin", func(t *testing.T) {
		if len(s.Command) == 0 {
			if os.Getenv(mainEnv) == "" {
				t.Fatal("backendtest: for the plugin's process TestMain has to call backendtest.Main")
			}
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			s.Command = []string{self}
			s.Env = append([]string{
				roleEnv + "=yes",
				"GORACE=atexit_sleep_ms=0", // a process under -race otherwise takes a second to exit
			}, s.Env...)
		}
		run(t, s, s.launch)
	})
}

// opener opens one backend with a section of the configuration.
type opener func(ctx context.Context, config json.RawMessage, log *slog.Logger) (core.Backend, core.Info, error)

func (s System) direct(ctx context.Context, config json.RawMessage, log *slog.Logger) (core.Backend, core.Info, error) {
	b := s.New(log)
	info, err := b.Open(ctx, config)
	return b, info, err
}

func (s System) launch(ctx context.Context, config json.RawMessage, log *slog.Logger) (core.Backend, core.Info, error) {
	p, err := plugins.Launch(ctx, plugins.Spec{Name: backendName, Command: s.Command, Env: s.Env, Config: config}, log)
	if err != nil {
		return nil, core.Info{}, err
	}
	return p, p.Info(), nil
}

// suite is one run over a system. The backends a, b and c stand for three bridges.
type suite struct {
	System
	opener opener
	book   *logbook
	names  atomic.Int64

	a, b, c core.Backend
	info    core.Info
}

// check is one test of the suite.
type check struct {
	name string
	run  func(s *suite, t *testing.T)
	// skip, if it is not nil, is why the check does not apply, or "".
	skip func(s *suite) string
}

// run runs the checks: first those that watch over goroutines and so want no other
// backend beside them, then those that share three backends, at last those that
// take the system or the processes away beneath these.
func run(t *testing.T, s System, open opener) {
	x := &suite{System: s, opener: open, book: &logbook{}}
	t.Cleanup(func() { x.checkSecrets(t, "the log", x.book.String()) })
	x.info = x.look(t)
	x.runAll(t, lifeChecks())
	x.shared(t)
	x.runAll(t, sharedChecks())
}

func (s *suite) runAll(t *testing.T, checks []check) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			if c.skip != nil {
				if why := c.skip(s); why != "" {
					t.Skip(why)
				}
			}
			mark := s.book.len()
			defer func() {
				if t.Failed() {
					t.Logf("what was logged meanwhile:\n%s", s.book.since(mark))
				}
			}()
			for _, b := range []core.Backend{s.a, s.b, s.c} {
				if b != nil {
					s.up(t, b) // whatever the checks before have done
				}
			}
			c.run(s, t)
		})
	}
}

// look opens a backend to see what it can do.
func (s *suite) look(t testing.TB) core.Info {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	b, info, err := s.opener(ctx, s.Config(t), slog.New(s.book))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	s.close(t, b)
	return info
}

// shared opens the three backends that most checks use.
func (s *suite) shared(t *testing.T) {
	s.a, _ = s.open(t, s.Config(t))
	s.b, s.c = s.a, s.a
	if s.Answer == nil {
		s.b, _ = s.open(t, s.Config(t))
		s.c, _ = s.open(t, s.Config(t))
	}
}

// open opens a backend, waits until it is up, and closes it at the end.
func (s *suite) open(t testing.TB, config json.RawMessage) (core.Backend, core.Info) {
	t.Helper()
	b, info := s.openOnly(t, config)
	s.up(t, b)
	return b, info
}

func (s *suite) openOnly(t testing.TB, config json.RawMessage) (core.Backend, core.Info) {
	t.Helper()
	// The context ends with Open: a backend that goes on using it notices here.
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	b, info, err := s.opener(ctx, config, slog.New(s.book))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { s.close(t, b) })
	return b, info
}

func (s *suite) close(t testing.TB, b core.Backend) {
	t.Helper()
	s.returns(t, "Close", func() {
		if err := b.Close(s.patient(t)); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// up waits until the backend says that it is.
func (s *suite) up(t testing.TB, b core.Backend) {
	t.Helper()
	var last core.Status
	s.eventually(t, func() bool {
		last = s.status(t, b)
		return last.State == core.Up
	}, func() string { return fmt.Sprintf("the backend is not up: it says %q, %q", last.State, last.Reason) })
}

func (s *suite) status(t testing.TB, b core.Backend) core.Status {
	t.Helper()
	st, err := b.Status(s.patient(t))
	if err != nil {
		t.Fatalf("Status: %v", err)
	}
	s.checkSecrets(t, "Status", st.Reason)
	return st
}

func (s *suite) checkSecrets(t testing.TB, where, text string) {
	t.Helper()
	for i, secret := range s.Secrets {
		if strings.Contains(text, secret) {
			t.Errorf("secret %d shows in %s", i, where)
		}
	}
}

func (s *suite) topic() string     { return s.Topic(int(s.names.Add(1))) }
func (s *suite) procedure() string { return s.Procedure(int(s.names.Add(1))) }

// heard is the topic on which others hear what is published to topic.
func (s *suite) heard(topic string) string {
	if s.Answer != nil {
		return s.Answer(topic)
	}
	return topic
}

func address(name string) core.Address { return core.Address{Backend: backendName, Name: name} }

func pattern(m core.Match, name string) core.Pattern {
	return core.Pattern{Address: address(name), Match: m}
}

func exact(name string) core.Pattern { return pattern(core.Exact, name) }
