package rest

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Time that a connection may take for a request's header, and idle between two.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
)

func (f *Frontend) configureServer() {
	f.server.Handler = f.Handler()
	f.server.ReadHeaderTimeout = min(headerTimeout, f.limits.ReadTimeout)
	f.server.ReadTimeout = f.limits.ReadTimeout
	// The longest call, and some time for the client to take the answer.
	f.server.WriteTimeout = f.limits.MaxTimeout + f.limits.ReadTimeout
	f.server.IdleTimeout = idleTimeout
	f.server.MaxHeaderBytes = f.limits.MaxHeader
	f.server.ErrorLog = slog.NewLogLogger(f.o.Log.Handler(), slog.LevelDebug)
}

// Serve answers on the listener until Shutdown, with TLS if config is not nil. It
// returns nil after Shutdown.
func (f *Frontend) Serve(l net.Listener, config *tls.Config) error {
	var err error
	if config != nil {
		f.server.TLSConfig = config
		err = f.server.ServeTLS(l, "", "")
	} else {
		err = f.server.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown stops listening, lets requests under way finish until ctx ends, and
// then cuts them off. /readyz says so from its beginning.
func (f *Frontend) Shutdown(ctx context.Context) error {
	f.draining.Store(true)
	if err := f.server.Shutdown(ctx); err != nil {
		_ = f.server.Close()
		return err
	}
	return nil
}
