package rest

import (
	"crypto/x509"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// Policy is what an operator can change of callbacks while the bridge runs. Zero
// fields mean the defaults.
type Policy struct {
	// Allow are networks that callbacks may reach beside public addresses.
	Allow []netip.Prefix
	// Timeout of one callback whose endpoint names none; 15 s.
	Timeout time.Duration
	// CA are authorities that endpoints' certificates are checked against, and an
	// https proxy's, in addition to the system's.
	CA []*x509.Certificate
	// Proxy is an egress proxy, trusted to refuse what must not be reached: with
	// one, names are resolved there, and only literal addresses are checked here.
	Proxy *url.URL
}

// policy is a Policy in use, with the connections that were made under it. But for
// those it is immutable.
type policy struct {
	*addresses
	timeout   time.Duration
	proxy     *url.URL
	transport *http.Transport
}

func (c *Callbacks) newPolicy(o Policy) *policy {
	setDefault(&o.Timeout, 15*time.Second)
	p := &policy{addresses: newAddresses(o.Allow), timeout: o.Timeout, proxy: o.Proxy}
	p.transport = c.newTransport(p, authorities(o.CA))
	return p
}

// authorities are the system's and these; nil for the system's alone.
func authorities(more []*x509.Certificate) *x509.CertPool {
	if len(more) == 0 {
		return nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // there are none
	}
	for _, c := range more {
		pool.AddCert(c)
	}
	return pool
}

// control is net.Dialer's Control: it sees the address that is really dialed,
// after every look-up.
func (p *policy) control(network, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" {
		return errForbidden
	}
	return p.check(ap.Addr())
}
