package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// dial connects to the server, by what DNS says of the domain (RFC 6120, 3.2) unless the
// operator named it.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	if c.o.Server != "" {
		return c.dialOne(ctx, c.o.Server)
	}
	service, port := "xmpp-client", "5222"
	if c.o.Mode == DirectTLS {
		service, port = "xmpps-client", "5223"
	}
	domain := c.o.JID.Domainpart()
	targets := []string{net.JoinHostPort(domain, port)}
	if _, records, err := net.DefaultResolver.LookupSRV(ctx, service, "tcp", domain); err == nil && len(records) > 0 {
		const most = 8
		targets = targets[:0]
		for _, r := range records[:min(len(records), most)] {
			if r.Target == "." {
				return nil, fmt.Errorf("%s says that it has no %s service", domain, service)
			}
			targets = append(targets, net.JoinHostPort(r.Target, strconv.Itoa(int(r.Port))))
		}
	}
	var errs []error
	for _, target := range targets {
		conn, err := c.dialOne(ctx, target)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (c *Client) dialOne(ctx context.Context, target string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", target)
	if err != nil {
		return nil, err
	}
	switch c.o.Mode {
	case NoTLS:
		if a, ok := conn.RemoteAddr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
			_ = conn.Close()
			return nil, fmt.Errorf("%s is not a loopback address: without TLS nothing else is connected to", target)
		}
	case DirectTLS:
		secured, err := c.secure(ctx, conn, "xmpp-client")
		if err != nil {
			_ = conn.Close()
			return nil, err
		}
		return secured, nil
	case StartTLS:
	}
	return conn, nil
}

func (c *Client) secure(ctx context.Context, conn net.Conn, protocols ...string) (net.Conn, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.o.TLS != nil {
		config = c.o.TLS.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = c.o.JID.Domainpart()
	}
	config.NextProtos = protocols
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, &refusal{reason: fmt.Errorf("TLS: %w", err)}
	}
	return secured, nil
}

// refusal is an error that trying again soon will not mend.
type refusal struct {
	reason error
	slow   bool // try again seldom: each try counts against the account
}

func (r *refusal) Error() string { return r.reason.Error() }
func (r *refusal) Unwrap() error { return r.reason }
