package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// dial connects to an external server and keeps connecting when it goes away.
func (s *Store) dial(ctx context.Context) error {
	log := s.c.Log
	options := []nats.Option{
		nats.Name("anybridge"), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond), nats.ReconnectBufSize(-1),
		nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2), // a server that hangs is left after this
		nats.ConnectHandler(func(*nats.Conn) { s.connected.Store(true) }),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			s.connected.Store(true)
			log.Info("engine reconnected", slog.String("server", nc.ConnectedUrlRedacted()))
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			s.connected.Store(false)
			if err != nil {
				log.Warn("engine disconnected", slog.Any("error", err))
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("engine", slog.Any("error", err))
		}),
	}
	if s.c.Creds != "" {
		options = append(options, nats.UserCredentials(s.c.Creds))
	}
	if s.c.CA != "" {
		options = append(options, nats.RootCAs(s.c.CA))
	}
	if deadline, ok := ctx.Deadline(); ok {
		options = append(options, nats.Timeout(max(time.Second, min(10*time.Second, time.Until(deadline)))))
	}
	nc, err := nats.Connect(s.c.URL, options...)
	if err != nil {
		return explain(err, "connect to the engine's server (engine.url)")
	}
	s.nc = nc
	s.connected.Store(true)
	return checkServer(nc.ConnectedServerVersion())
}

// checkServer refuses a server that lacks what is needed. A version that cannot be
// read is let pass.
func checkServer(version string) error {
	const major, minor = 2, 11
	var a, b int
	if n, _ := fmt.Sscanf(version, "%d.%d.", &a, &b); n < 2 || a > major || a == major && b >= minor {
		return nil
	}
	return fmt.Errorf("the engine's server (engine.url) runs NATS %s: %d.%d or newer is needed", version, major, minor)
}

// explain says what to do about an error of an external server.
func explain(err error, doing string) error {
	hint := ""
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount),
		errors.Is(err, nats.ErrNoResponders):
		hint = "JetStream is not on: start the servers with it (nats-server -js, or a jetstream block in their configuration), and enable it for the account of these credentials"
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		hint = "the server does not accept the credentials: check engine.creds, or the user name and password in engine.url"
	case errors.Is(err, nats.ErrPermissionViolation):
		hint = `the user may not use JetStream: allow it to publish to "$JS.API.>" and the streams' subjects, and to subscribe to "_INBOX.>"`
	case errors.Is(err, nats.ErrNoServers):
		hint = "no server answers: check the address; in a cluster name all nodes, separated by commas"
	case errors.As(err, &api) && (api.ErrorCode == codeNoPeers || api.ErrorCode == codeResources || api.ErrorCode == codeReplicas):
		hint = "there are not enough nodes that run, have JetStream on and have room: start the missing ones, or set engine.replicas to fewer"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		hint = "the server does not answer: in a cluster, more than half of the nodes must run; the user must be allowed to use JetStream"
	}
	if hint != "" {
		return fmt.Errorf("%s: %w (%s)", doing, err, hint)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// Error codes of the server about clusters.
const (
	codeNoPeers   = 10005
	codeReplicas  = 10074
	codeResources = 10023
)
