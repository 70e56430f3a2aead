package rest

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/anybridge/anybridge/adapters/http/internal/quick"
)

// Time after which a silent HTTP/2 connection is asked whether it is alive, and
// that it has to answer.
const (
	pingAfter   = 30 * time.Second
	pingTimeout = 15 * time.Second
)

func (f *Frontend) configureServer() {
	f.server.Handler = f.Handler()
	f.server.ReadHeaderTimeout = f.limits.HeaderTimeout
	f.server.ReadTimeout = f.limits.ReadTimeout
	f.server.WriteTimeout = f.limits.WriteTimeout // a late answer extends it: see exchange.reply
	f.server.IdleTimeout = f.limits.IdleTimeout
	f.server.ConnState = f.conns.watch
	f.server.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams: maxStreams,
		SendPingTimeout:      pingAfter,
		PingTimeout:          pingTimeout,
		WriteByteTimeout:     f.limits.WriteTimeout,
	}
	f.server.MaxHeaderBytes = f.limits.MaxHeader
	f.server.ErrorLog = slog.NewLogLogger(f.o.Log.Handler(), slog.LevelDebug)
	// Events are what comes most often, and are soon accepted or not. Nothing else is: calls
	// have to end when their callers hang up.
	f.quick = quick.New(quick.Options{
		Prefix: "/publish/", MaxBody: min(f.limits.MaxBody, smallBody), Handler: f.server.Handler, Rest: &f.server,
	})
}

// maxStreams bounds the requests under way of one HTTP/2 connection.
const maxStreams = 256

// Serve answers on the listener until Shutdown, with TLS if config is not nil. It
// returns nil after Shutdown.
func (f *Frontend) Serve(l net.Listener, config *tls.Config) error {
	var err error
	if config != nil {
		f.server.TLSConfig = config
		err = f.server.ServeTLS(l, "", "")
	} else {
		err = f.quick.Serve(l)
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
	return f.quick.Shutdown(ctx)
}
