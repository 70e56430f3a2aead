package irc

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/core"
)

// Backend implements core.Backend on IRC.
type Backend struct {
	log *slog.Logger

	change sync.Mutex // serialises Open and Close
	open   atomic.Pointer[session]
}

var _ core.Backend = (*Backend)(nil)

// New makes a backend that is not open yet.
func New(log *slog.Logger) *Backend { return &Backend{log: log} }

// openPatience is how long Open waits for the first connection.
const openPatience = 5 * time.Second

// Open implements core.Backend. In place it changes everything but the connection:
// server, tls, user, realname, password, sasl and nickserv.
func (b *Backend) Open(ctx context.Context, config json.RawMessage) (core.Info, error) {
	cfg, err := parseConfig(config)
	if err != nil {
		return core.Info{}, err
	}
	b.change.Lock()
	defer b.change.Unlock()
	if s := b.open.Load(); s != nil {
		return info(), s.reconfigure(cfg)
	}
	s := newSession(cfg, b.log)
	b.open.Store(s)
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	s.ready(ctx) // a server that is away is not an error: see Status
	return info(), nil
}

func info() core.Info {
	return core.Info{Kind: "irc", Can: core.Capabilities{
		Publish:   true,
		Subscribe: []core.Match{core.Exact, core.Prefix, core.Wildcard},
		Register:  []core.Match{core.Exact},
	}}
}

func (s *session) reconfigure(cfg *Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !cfg.sameConnection(s.cfg) {
		return core.Errorf(core.Unimplemented, "a changed connection needs a fresh start")
	}
	renamed := cfg.Nick != s.cfg.Nick
	s.cfg = cfg
	s.configureChannels()
	if c := s.conn; c != nil {
		c.out.bucket.burst, c.out.bucket.interval = cfg.Flood.Burst, cfg.floodInterval()
		if renamed {
			c.urgent("NICK", cfg.Nick)
		}
		c.wakeUp()
	}
	return nil
}

func (b *Backend) session() (*session, error) {
	if s := b.open.Load(); s != nil {
		return s, nil
	}
	return nil, core.Errorf(core.Unavailable, "the backend is not open")
}

// Publish implements core.Backend: the topic is a channel or a nick. It returns when
// the server has confirmed every line, or refused one; see pending.
func (b *Backend) Publish(ctx context.Context, e *core.Event) error {
	s, err := b.session()
	if err != nil {
		return err
	}
	return s.publish(ctx, e)
}

// Subscribe implements core.Backend. An exact subscription of a channel joins it;
// prefix and wildcard ones cover the channels that we are in and the nicks that write
// to us; "@me" covers all private messages.
func (b *Backend) Subscribe(ctx context.Context, p core.Pattern) (core.Stream[*core.Event], error) {
	s, err := b.session()
	if err != nil {
		return nil, err
	}
	return s.subscribe(ctx, p)
}

// Call implements core.Backend: IRC has no procedures.
func (b *Backend) Call(context.Context, *core.Call) (*core.Result, error) {
	return nil, core.Errorf(core.Unimplemented, "IRC has no procedures to call")
}

// Register implements core.Backend: people call the procedure by writing its name
// after the prefix.
func (b *Backend) Register(_ context.Context, p core.Pattern, o core.RegisterOptions) (core.Stream[*core.Invocation], error) {
	s, err := b.session()
	if err != nil {
		return nil, err
	}
	return s.register(p, o)
}

// Status implements core.Backend.
func (b *Backend) Status(context.Context) (core.Status, error) {
	s := b.open.Load()
	if s == nil {
		return core.Status{State: core.Down, Reason: "not open"}, nil
	}
	return s.status(), nil
}

// Close implements core.Backend.
func (b *Backend) Close(ctx context.Context) error {
	b.change.Lock()
	defer b.change.Unlock()
	if s := b.open.Swap(nil); s != nil {
		s.close(ctx)
	}
	return nil
}
