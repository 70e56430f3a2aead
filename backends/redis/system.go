package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/anybridge/anybridge/core"
)

// system reaches Redis: it dials connections of our own, and has a client of
// go-redis for single commands, which know about Sentinel and Cluster.
type system struct {
	cfg     *Config
	place   *place
	log     *slog.Logger
	client  goredis.UniversalClient
	cluster *goredis.ClusterClient // client, with clusterPlace; else nil

	mu    sync.Mutex
	nodes []string // of the cluster, as far as known
}

const dialTimeout = 3 * time.Second

func newSystem(cfg *Config, log *slog.Logger) *system {
	s := &system{cfg: cfg, place: &cfg.place, log: log, nodes: cfg.place.addrs}
	p := s.place
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	const pool, never = 16, -1
	switch p.kind {
	case sentinelPlace:
		s.client = goredis.NewFailoverClient(&goredis.FailoverOptions{
			MasterName: p.master, SentinelAddrs: p.addrs, DB: p.db,
			SentinelUsername: cfg.Sentinel.Username, SentinelPassword: cfg.Sentinel.Password,
			Username: p.username, Password: string(p.password), TLSConfig: p.tlsConfig,
			Protocol: 2, DisableIdentity: true, MaxRetries: never, ContextTimeoutEnabled: true, PoolSize: pool,
			DialTimeout: dialTimeout, DialerRetries: 1,
		})
	case clusterPlace:
		s.cluster = goredis.NewClusterClient(&goredis.ClusterOptions{
			Addrs: p.addrs, Username: p.username, Password: string(p.password), TLSConfig: p.tlsConfig,
			Protocol: 2, DisableIdentity: true, MaxRetries: never, ContextTimeoutEnabled: true, PoolSize: pool,
			DialTimeout: dialTimeout, DialerRetries: 1, MaintNotificationsConfig: quiet,
		})
		s.client = s.cluster
	default:
		network := "tcp"
		if p.kind == unixPlace {
			network = "unix"
		}
		s.client = goredis.NewClient(&goredis.Options{
			Network: network, Addr: p.addrs[0], DB: p.db, Username: p.username, Password: string(p.password), TLSConfig: p.tlsConfig,
			Protocol: 2, DisableIdentity: true, MaxRetries: never, ContextTimeoutEnabled: true, PoolSize: pool,
			DialTimeout: dialTimeout, DialerRetries: 1, MaintNotificationsConfig: quiet,
		})
	}
	return s
}

func (s *system) close() error { return s.client.Close() }

// keyed runs a command, or a pipeline, that concerns one key. It is tried again only
// when the cluster has said that it was not executed.
func (s *system) keyed(ctx context.Context, key string, run func(goredis.Cmdable) error) error {
	if s.cluster == nil {
		return s.error(run(s.client))
	}
	var err error
	for range 5 {
		var node *goredis.Client
		if node, err = s.cluster.MasterForKey(ctx, key); err != nil {
			return s.error(err)
		}
		if err = run(node); !movedAway(err) {
			break
		}
		s.cluster.ReloadState(ctx)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return core.AsError(ctx.Err())
		}
	}
	return s.error(err)
}

// movedAway reports whether a node of the cluster says that it has not executed a
// command because the key is, or is going to be, elsewhere.
func movedAway(err error) bool { return isReply(err, "MOVED", "ASK", "TRYAGAIN") }

// dial opens a connection for what does not depend on a key.
func (s *system) dial(ctx context.Context) (*conn, error) {
	switch s.place.kind {
	case sentinelPlace:
		addr, err := s.master(ctx)
		if err != nil {
			return nil, err
		}
		return s.dialAddr(ctx, addr)
	case clusterPlace:
		return s.dialNode(ctx)
	}
	return s.dialAddr(ctx, s.place.addrs[0])
}

// dialKey opens a connection for commands on a key.
func (s *system) dialKey(ctx context.Context, key string) (*conn, error) {
	if s.cluster == nil {
		return s.dial(ctx)
	}
	node, err := s.cluster.MasterForKey(ctx, key)
	if err != nil {
		return nil, s.error(err)
	}
	return s.dialAddr(ctx, node.Options().Addr)
}

func (s *system) dialAddr(ctx context.Context, addr string) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := s.connect(ctx, addr)
	if err != nil {
		return nil, s.error(err)
	}
	if err := c.handshake(ctx, s.place, s.place.db); err != nil {
		_ = c.Close()
		return nil, s.error(err)
	}
	return c, nil
}

func (s *system) connect(ctx context.Context, addr string) (*conn, error) {
	network := "tcp"
	if s.place.kind == unixPlace {
		network = "unix"
	}
	dialer := &net.Dialer{}
	var c net.Conn
	var err error
	if s.place.tlsConfig != nil {
		c, err = (&tls.Dialer{NetDialer: dialer, Config: s.place.tlsConfig}).DialContext(ctx, network, addr)
	} else {
		c, err = dialer.DialContext(ctx, network, addr)
	}
	if err != nil {
		return nil, err
	}
	return newConn(c, addr, s.cfg.MaxMessage), nil
}

// dialNode opens a connection to any node of the cluster that answers, and learns
// which others there are.
func (s *system) dialNode(ctx context.Context) (*conn, error) {
	s.mu.Lock()
	nodes := slices.Clone(s.nodes)
	s.mu.Unlock()
	rand.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] }) //nolint:gosec // not a secret
	var errs []error
	for _, addr := range nodes {
		c, err := s.dialAddr(ctx, addr)
		if err == nil {
			s.learn(ctx, c)
			return c, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// learn remembers the nodes that a node knows. A user who may not ask is left with
// those of the configuration.
func (s *system) learn(ctx context.Context, c *conn) {
	reply, err := c.do(ctx, answerTimeout, "CLUSTER", "SLOTS")
	if err != nil {
		return
	}
	nodes := slices.Clone(s.place.addrs)
	ranges, _ := reply.([]any)
	for _, r := range ranges {
		parts, _ := r.([]any)
		for i := 2; i < len(parts); i++ {
			node, _ := parts[i].([]any)
			if len(node) < 2 {
				continue
			}
			host, _ := node[0].([]byte)
			port, _ := node[1].(int64)
			if len(host) == 0 || string(host) == "?" {
				continue
			}
			if addr := net.JoinHostPort(string(host), strconv.FormatInt(port, 10)); !slices.Contains(nodes, addr) {
				nodes = append(nodes, addr)
			}
		}
	}
	s.mu.Lock()
	s.nodes = nodes
	s.mu.Unlock()
}

// master asks the sentinels who is the master.
func (s *system) master(ctx context.Context) (string, error) {
	var errs []error
	for _, addr := range s.place.addrs {
		master, err := s.askSentinel(ctx, addr)
		if err == nil {
			return master, nil
		}
		errs = append(errs, fmt.Errorf("sentinel %s: %w", addr, err))
		if ctx.Err() != nil {
			break
		}
	}
	return "", s.error(errors.Join(errs...))
}

func (s *system) askSentinel(ctx context.Context, addr string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := s.connect(ctx, addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	login := &place{username: s.cfg.Sentinel.Username, password: core.Secret(s.cfg.Sentinel.Password)}
	if err := c.handshake(ctx, login, 0); err != nil {
		return "", err
	}
	reply, err := c.do(ctx, answerTimeout, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.place.master)
	if err != nil {
		return "", err
	}
	parts, _ := reply.([]any)
	if len(parts) != 2 {
		return "", fmt.Errorf("knows no master %q", s.place.master)
	}
	host, _ := parts[0].([]byte)
	port, _ := parts[1].([]byte)
	return net.JoinHostPort(string(host), string(port)), nil
}

// moved reports whether the sentinels have another master than the connection leads
// to.
func (s *system) moved(ctx context.Context, c *conn) bool {
	if s.place.kind != sentinelPlace {
		return false
	}
	addr, err := s.master(ctx)
	return err == nil && addr != c.addr
}

// error is err in our terms.
func (s *system) error(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*core.Error](err); ok {
		return e
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return core.AsError(err)
	}
	text := s.place.redacted(err.Error())
	switch word, _, _ := strings.Cut(text[strings.LastIndex(text, ": ")+1:], " "); {
	case isReply(err, "NOPERM", "NOAUTH", "WRONGPASS") || strings.Contains(text, ": WRONGPASS") || strings.Contains(text, ": NOAUTH"):
		return core.Errorf(core.Forbidden, "redis: %s", text)
	case isReply(err, "WRONGTYPE"):
		return core.Errorf(core.InvalidArgument, "redis: %s", text)
	case isReply(err, "ERR") || word == "ERR":
		return core.Errorf(core.Internal, "redis: %s", text)
	}
	return core.Errorf(core.Unavailable, "redis: %s", text)
}
