package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"syscall"

	"github.com/anybridge/anybridge/cmd/anybridge/internal/config"
)

// door is where the REST frontend lets clients in. Closing it keeps the
// connections that came through it.
type door struct {
	listener net.Listener
	secure   bool
	cert     atomic.Pointer[tls.Certificate]
	closed   atomic.Bool
}

// openDoor binds the address of the configuration. Clients wait until it is
// served.
func openDoor(ctx context.Context, conf *config.Config) (*door, error) {
	d := &door{}
	if conf.TLS != nil {
		d.secure = true
		if err := d.loadCertificate(conf.TLS); err != nil {
			return nil, err
		}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", conf.Listen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen on %s: another program has this port; does a bridge run already? Otherwise choose another one: listen in the configuration, or --listen (%w)", conf.Listen, err)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("listen on %s: this user may not use the port; choose one above 1023: listen in the configuration, or --listen (%w)", conf.Listen, err)
	case err != nil:
		return nil, fmt.Errorf("listen on %s (listen in the configuration, or --listen): %w", conf.Listen, err)
	}
	d.listener = l
	return d, nil
}

// loadCertificate reads the files again, so that a renewed certificate counts for
// every connection from now on.
func (d *door) loadCertificate(files *config.TLS) error {
	cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return fmt.Errorf("load the certificate (tls in the configuration): %w", err)
	}
	d.cert.Store(&cert)
	return nil
}

// accepting is the listener as the HTTP server wants it.
func (d *door) accepting() net.Listener {
	if !d.secure {
		return d.listener
	}
	return tls.NewListener(d.listener, &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return d.cert.Load(), nil },
	})
}

func (d *door) close() {
	d.closed.Store(true)
	_ = d.listener.Close()
}

// url is where people find the REST API.
func (d *door) url() string {
	scheme := "http"
	if d.secure {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(d.listener.Addr().String())
	if err != nil {
		return scheme + "://" + d.listener.Addr().String() + "/"
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port) + "/"
}

// serve lets clients in until the door is closed or the frontend shut down.
func (a *app) serve(d *door) {
	go func() {
		err := a.frontend.Serve(d.accepting(), nil)
		if err == nil || d.closed.Load() {
			return
		}
		a.log.Error("stopped listening", slog.String("listen", d.url()), slog.Any("error", err))
		select {
		case a.failed <- err:
		default:
		}
	}()
}

// moveDoor opens the door of another configuration, if it is another one. Until
// commit clients come through the old one, unless both need the same port. undo
// takes it back.
func (a *app) moveDoor(ctx context.Context, conf *config.Config) (commit, undo func(), err error) {
	old, oldConf := a.door.Load(), a.config
	nothing := func() {}
	if conf.Listen == oldConf.Listen && (conf.TLS == nil) == (oldConf.TLS == nil) {
		if conf.TLS == nil {
			return nothing, nothing, nil
		}
		former := old.cert.Load()
		if err := old.loadCertificate(conf.TLS); err != nil {
			return nil, nil, err
		}
		return nothing, func() { old.cert.Store(former) }, nil
	}
	reopen := nothing
	fresh, err := openDoor(ctx, conf)
	if errors.Is(err, syscall.EADDRINUSE) && samePort(conf.Listen, old.listener.Addr().String()) {
		old.close()
		reopen = func() {
			again, err := openDoor(context.WithoutCancel(ctx), oldConf)
			if err != nil {
				a.log.Error("go back to the former address", slog.Any("error", err))
				a.failed <- err
				return
			}
			a.door.Store(again)
			a.serve(again)
		}
		fresh, err = openDoor(ctx, conf)
	}
	if err != nil {
		reopen()
		return nil, nil, err
	}
	commit = func() {
		a.door.Store(fresh)
		a.serve(fresh)
		old.close()
		a.log.Info("listening", slog.String("listen", fresh.url()))
	}
	undo = func() {
		fresh.close()
		reopen()
	}
	return commit, undo, nil
}

func samePort(a, b string) bool {
	_, x, errA := net.SplitHostPort(a)
	_, y, errB := net.SplitHostPort(b)
	return errA == nil && errB == nil && x == y
}
