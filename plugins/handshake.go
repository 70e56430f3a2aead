package plugins

import (
	"context"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

// What the host tells its child in the environment, beside go-plugin's own.
const (
	cookieKey   = "ANYBRIDGE_PLUGIN"
	cookieValue = "backend"
	logLevelEnv = "ANYBRIDGE_LOG_LEVEL"
)

// protocolVersion is that of backend.proto. It changes when a host and a plugin of
// different versions would misunderstand each other.
const protocolVersion = 1

func handshake() goplugin.HandshakeConfig {
	return goplugin.HandshakeConfig{ProtocolVersion: protocolVersion, MagicCookieKey: cookieKey, MagicCookieValue: cookieValue}
}

// pluginName is what go-plugin calls the one plugin in a process.
const pluginName = "backend"

// wire makes go-plugin hand out the bare connection on the host's side and
// register our service on the plugin's.
type wire struct {
	goplugin.NetRPCUnsupportedPlugin
	register func(*grpc.Server)
}

// GRPCServer implements goplugin.GRPCPlugin.
func (w wire) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	w.register(s)
	return nil
}

// GRPCClient implements goplugin.GRPCPlugin.
func (wire) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// Sizes of gRPC's buffers. The windows hold several batches, so that a sender does
// not wait for an acknowledgement between two of them.
const (
	streamWindow     = 4 * mib
	connectionWindow = 16 * mib
	socketBuffer     = 128 << 10
)
