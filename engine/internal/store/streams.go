package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The streams, beside one per lane. Subjects begin with the store's name and the
// stream's.
const (
	Registry = "registry" // one message per subscription and registration, and leases
	Cursors  = "cursors"  // how far lanes and backlogs have been worked off, and the state of endpoints
	Backlog  = "backlog"  // packs of deliveries that wait for one endpoint, in order
	Later    = "later"    // deliveries with a time of their own, one message each: retries, results
	Dead     = "dead"     // dead letters, one message each
	Keys     = "keys"     // idempotency keys
)

// Lane names the stream of a lane.
func Lane(n int) string { return fmt.Sprintf("lane_%d", n) }

// version is that of everything stored. A store with a larger one is refused.
const version = 1

// keepKeys is how long an idempotency key counts.
const keepKeys = 24 * time.Hour

// dupWindow is for how long the server recognises a repeated message id: longer
// than any retry of ours goes on.
const dupWindow = 30 * time.Second

type meta struct {
	Version int `json:"version"`
	Lanes   int `json:"lanes"`
}

// makeStreams makes what streams are missing, after a look at the store's version.
func (s *Store) makeStreams(ctx context.Context) error {
	if err := s.makeStream(ctx, Registry, nil); err != nil {
		return err
	}
	if err := s.checkVersion(ctx); err != nil {
		return err
	}
	for n := range s.c.Lanes {
		if err := s.makeStream(ctx, Lane(n), nil); err != nil {
			return err
		}
	}
	for name, change := range map[string]func(*jetstream.StreamConfig){
		Cursors: func(c *jetstream.StreamConfig) {
			if s.c.Sync && s.server != nil {
				c.PersistMode = jetstream.AsyncPersistMode // losing the last ones costs repetitions only
			}
		},
		Backlog: nil,
		Later:   nil,
		Dead:    func(c *jetstream.StreamConfig) { c.MaxAge = s.c.Keep },
		Keys:    func(c *jetstream.StreamConfig) { c.MaxAge = keepKeys },
	} {
		if err := s.makeStream(ctx, name, change); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) makeStream(ctx context.Context, name string, change func(*jetstream.StreamConfig)) error {
	var stream jetstream.Stream
	err := s.insist(ctx, func(ctx context.Context) error {
		old, err := s.js.Stream(ctx, s.name(name))
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			c := jetstream.StreamConfig{Replicas: s.replicas()}
			s.configure(&c, name, change)
			stream, err = s.js.CreateStream(ctx, c)
			return err
		}
		if err != nil {
			return err
		}
		was := old.CachedInfo().Config
		c := was // what the operator has changed stays
		if s.c.Replicas > 0 {
			c.Replicas = s.c.Replicas
		}
		s.configure(&c, name, change)
		c.PersistMode = was.PersistMode // it is for life
		if reflect.DeepEqual(c, was) {
			stream = old
			return nil
		}
		stream, err = s.js.UpdateStream(ctx, c)
		return err
	})
	if err != nil {
		return explain(err, "make stream "+s.name(name)+" on the engine's server")
	}
	s.streams[name] = stream
	s.ends[name] = stream.CachedInfo().State.LastSeq
	return nil
}

// configure sets what the engine needs of a stream.
func (s *Store) configure(c *jetstream.StreamConfig, name string, change func(*jetstream.StreamConfig)) {
	c.Name = s.name(name)
	c.Description = "anybridge: " + name
	c.Subjects = []string{s.Subject(name, ">")}
	c.Storage = jetstream.FileStorage
	c.Discard = jetstream.DiscardNew
	c.Duplicates = dupWindow
	// Any node of a cluster may answer a direct get, also one that is behind.
	c.AllowDirect = !s.Shared()
	c.AllowRollup = holdsOne(name)
	if change != nil {
		change(c)
	}
}

// holdsOne reports whether each subject of a stream holds its last message only. It
// is Put that replaces the one before: what MaxMsgsPerSubject removes is there again
// after a kill, if what replaced it has been removed by then.
func holdsOne(stream string) bool {
	switch stream {
	case Registry, Cursors, Later, Dead, Keys:
		return true
	}
	return false
}

// replicas is how many copies a new stream has.
func (s *Store) replicas() int {
	switch {
	case !s.Shared():
		return 1
	case s.c.Replicas > 0:
		return s.c.Replicas
	case s.nc.ConnectedClusterName() != "":
		return 3
	}
	return 1
}

// insistTime is how long the opening of a store waits for a cluster that elects its
// leaders.
const insistTime = 30 * time.Second

// insist tries again what fails because nobody leads the cluster just now.
func (s *Store) insist(ctx context.Context, try func(context.Context) error) error {
	end := time.Now().Add(insistTime)
	for {
		once, cancel := context.WithTimeout(ctx, createTime)
		err := try(once)
		cancel()
		if denied := s.nc.LastError(); err != nil && errors.Is(denied, nats.ErrPermissionViolation) {
			return denied // the server does not answer what it forbids
		}
		var api *jetstream.APIError
		passing := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) ||
			errors.As(err, &api) && api.ErrorCode == codeUnavailable
		if !passing || !s.Shared() || time.Now().After(end) {
			return err
		}
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// codeUnavailable is the server's error while the cluster has no leader.
const codeUnavailable = 10008

// checkVersion refuses a store that a later version has written, and takes over
// the number of lanes of an existing one.
func (s *Store) checkVersion(ctx context.Context) error {
	subject := s.Subject(Registry, "meta")
	m := meta{Version: version, Lanes: s.c.Lanes}
	var msg *Msg
	err := s.insist(ctx, func(ctx context.Context) (err error) {
		msg, err = s.Last(ctx, Registry, subject)
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		data, _ := json.Marshal(m)
		// Two bridges may start on a new store at once: the first one decides.
		_, err = s.js.Publish(ctx, subject, data, jetstream.WithExpectLastSequencePerSubject(0))
		if err == nil {
			return nil
		}
		msg, err = s.Last(ctx, Registry, subject)
		return err
	})
	if err != nil {
		return explain(err, "read the store's version")
	}
	if msg == nil {
		return nil // written just now
	}
	if err := json.Unmarshal(msg.Data, &m); err != nil {
		return fmt.Errorf("read the store's version: %w", err)
	}
	if m.Version > version {
		return fmt.Errorf("the data was written by a newer anybridge (format %d, this one knows %d): run that version, or choose another data_dir", m.Version, version)
	}
	s.c.Lanes = m.Lanes
	return nil
}

// name is the stream's name on the server.
func (s *Store) name(stream string) string { return strings.ToUpper(s.c.Name + "_" + stream) }

// Subject is the subject of tokens in a stream.
func (s *Store) Subject(stream string, tokens ...string) string {
	return s.c.Name + "." + stream + "." + strings.Join(tokens, ".")
}

// Tokens are what Subject was given.
func (s *Store) Tokens(stream, subject string) []string {
	return strings.Split(strings.TrimPrefix(subject, s.c.Name+"."+stream+"."), ".")
}
