// Package store is the engine's disk: a handful of JetStream streams on a NATS
// server that runs inside this process, or on one somewhere else. The two are the
// same code; only the connection differs.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Config says where the store is. Zero fields mean the defaults.
type Config struct {
	// Dir is where the embedded server keeps its files; URL, if set, is an external
	// server instead (several, separated by commas, are nodes of one cluster).
	Dir string
	URL string
	// Creds is a NATS credentials file and CA a PEM file, for URL.
	Creds, CA string
	// Name begins the names of all streams; "anybridge".
	Name string
	// Lanes is the number of lanes of a new store; 4. An existing one keeps its own.
	Lanes int
	// Replicas of each stream on an external server; 0: three in a cluster, else one.
	Replicas int
	// Sync has the embedded server sync every write to the disk before it
	// acknowledges it.
	Sync bool
	// MaxBytes bounds what is stored; 10 GiB.
	MaxBytes int64
	// Keep is how long dead letters are kept; 30 days.
	Keep time.Duration
	Log  *slog.Logger // required
}

// Store is an open store. All its methods may be called concurrently.
type Store struct {
	c       Config
	server  *server.Server // nil: external
	nc      *nats.Conn
	js      jetstream.JetStream
	streams map[string]jetstream.Stream
	ends    map[string]uint64 // of the streams, when they were opened

	replies   string // the subject that acknowledgements arrive on, without its last token
	sub       *nats.Subscription
	next      atomic.Uint64
	mu        sync.Mutex // guards waiting
	waiting   map[string]*waiter
	sweep     *time.Ticker
	swept     chan struct{}
	used      atomic.Int64
	connected atomic.Bool
}

// ErrNotFound is the error of a message that is not there.
var ErrNotFound = errors.New("not found")

// Open connects, and makes what streams are missing.
func Open(ctx context.Context, c Config) (_ *Store, err error) {
	setDefaults(&c)
	s := &Store{c: c, streams: map[string]jetstream.Stream{}, ends: map[string]uint64{}, waiting: map[string]*waiter{}, swept: make(chan struct{})}
	defer func() {
		if err != nil {
			s.disconnect()
		}
	}()
	if c.URL == "" {
		err = s.embed()
	} else {
		err = s.dial(ctx)
	}
	if err != nil {
		return nil, err
	}
	if s.js, err = jetstream.New(s.nc); err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	if err := s.makeStreams(ctx); err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	if err := s.Measure(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func setDefaults(c *Config) {
	if c.Name == "" {
		c.Name = "anybridge"
	}
	if c.Lanes == 0 {
		c.Lanes = 4
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 10 << 30
	}
	if c.Keep == 0 {
		c.Keep = 30 * 24 * time.Hour
	}
}

// Shared reports whether other bridges can use the same store.
func (s *Store) Shared() bool { return s.server == nil }

// Lanes is the number of lanes.
func (s *Store) Lanes() int { return s.c.Lanes }

// Connected reports whether the server can be reached.
func (s *Store) Connected() bool { return s.connected.Load() }

// Close ends the connection and the embedded server. What was acknowledged is on
// the disk.
func (s *Store) Close() {
	if s.sweep != nil {
		s.sweep.Stop()
		close(s.swept)
	}
	s.disconnect()
	s.failAll(errors.New("the store is closed"))
}

func (s *Store) disconnect() {
	if s.nc != nil {
		s.nc.Close()
	}
	if s.server != nil {
		s.server.Shutdown()
		s.server.WaitForShutdown()
	}
}

// maxPayload is the largest message that the embedded server stores: a pack of
// events, or one large event with its recipients.
const maxPayload = 8 << 20

// MaxData is the most data that one message can hold; an external server decides it
// (max_payload). What is put must leave room for its header and for what is added to
// it later.
func (s *Store) MaxData() int { return int(s.nc.MaxPayload()) }

// embed starts a server that only this process can reach.
func (s *Store) embed() error {
	srv, err := server.NewServer(&server.Options{
		ServerName: s.c.Name, DontListen: true, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: s.c.Dir, SyncAlways: s.c.Sync,
		JetStreamMaxStore: s.c.MaxBytes, JetStreamMaxMemory: 64 << 20,
		MaxPayload: maxPayload, MaxPending: 256 << 20,
		JetStreamLimits: server.JSLimitOpts{MaxRequestBatch: 1024},
	})
	if err != nil {
		return fmt.Errorf("start the embedded store in %s: %w", s.c.Dir, err)
	}
	srv.SetLogger(&serverLog{s.c.Log}, false, false)
	s.server = srv
	srv.Start()
	const startTime = 5 * time.Minute // recovering a large store takes its time
	if !srv.ReadyForConnections(startTime) || !srv.JetStreamEnabled() {
		return fmt.Errorf("start the embedded store in %s: it does not come up (is the disk full, or the folder not writable?)", s.c.Dir)
	}
	s.nc, err = nats.Connect("", nats.InProcessServer(srv), nats.Name("anybridge"), nats.NoReconnect(), nats.Timeout(startTime))
	if err != nil {
		return fmt.Errorf("reach the embedded store: %w", err)
	}
	s.connected.Store(true)
	return nil
}

// Measure reads how much is stored.
func (s *Store) Measure(ctx context.Context) error {
	if !s.Shared() {
		info, err := s.js.AccountInfo(ctx)
		if err != nil {
			return fmt.Errorf("measure the store: %w", err)
		}
		s.used.Store(int64(info.Store))
		return nil
	}
	// The account may hold other things, and counts every replica.
	total := uint64(0)
	for name := range s.streams {
		size, err := s.Size(ctx, name)
		if err != nil {
			return err
		}
		total += size.Bytes
	}
	s.used.Store(int64(total))
	return nil
}

// Used is the number of bytes stored when Measure was called last, and the bound.
func (s *Store) Used() (used, limit int64) { return s.used.Load(), s.c.MaxBytes }

// serverLog passes the embedded server's warnings on.
type serverLog struct{ log *slog.Logger }

func (l *serverLog) Noticef(string, ...any)    {}
func (l *serverLog) Debugf(string, ...any)     {}
func (l *serverLog) Tracef(string, ...any)     {}
func (l *serverLog) Warnf(f string, v ...any)  { l.say(slog.LevelWarn, f, v) }
func (l *serverLog) Errorf(f string, v ...any) { l.say(slog.LevelError, f, v) }
func (l *serverLog) Fatalf(f string, v ...any) { l.say(slog.LevelError, f, v) }
func (l *serverLog) say(level slog.Level, f string, v []any) {
	l.log.Log(context.Background(), level, "embedded store", slog.String("message", strings.TrimSpace(fmt.Sprintf(f, v...))))
}
