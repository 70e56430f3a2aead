package rest

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"

	"github.com/anybridge/anybridge/core"
)

// policy is a Policy in use: which addresses callbacks may reach, namely public ones
// (what IANA's registries of special-purpose addresses leave over) and the networks
// that the operator allowed, how, and for how long. It is immutable.
type policy struct {
	guard   *ssrf.Guardian
	timeout time.Duration
	proxy   *url.URL
}

// errForbidden is what dialing a forbidden address comes to. It does not show the
// address: who is behind a name inside is nobody's business outside.
var errForbidden = errors.New("its address is not allowed")

func newPolicy(o Policy) *policy {
	setDefault(&o.Timeout, 15*time.Second)
	var v4, v6 []netip.Prefix
	for _, prefix := range o.Allow {
		if a := prefix.Addr(); a.Is4In6() && prefix.Bits() >= 96 {
			prefix = netip.PrefixFrom(a.Unmap(), prefix.Bits()-96)
		}
		if prefix.Addr().Is4() {
			v4 = append(v4, prefix.Masked())
		} else {
			v6 = append(v6, prefix.Masked())
		}
	}
	return &policy{
		guard:   ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...)),
		timeout: o.Timeout, proxy: o.Proxy,
	}
}

// check returns errForbidden for an address that must not be reached. An IPv4
// address inside an IPv6 one (mapped, or behind NAT64) must be allowed itself.
func (p *policy) check(a netip.Addr) error {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || p.guard.SafeAddr(a) != nil {
		return errForbidden
	}
	if nat64 := ssrf.IPv6NAT64Prefix; nat64.Contains(a) {
		b := a.As16()
		return p.check(netip.AddrFrom4([4]byte(b[12:])))
	}
	return nil
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

// checkLiteral checks a host that is an address, in any spelling that some
// resolver takes for one; other names are checked when they are dialed. The error
// is CallbackForbidden.
func (p *policy) checkLiteral(host string) error {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if a, err := netip.ParseAddr(name); err == nil {
		if p.check(a) != nil {
			return core.Errorf(core.CallbackForbidden, "the address %s is not allowed; the operator can allow it (callbacks.allow)", a)
		}
		return nil
	}
	if last := name[strings.LastIndexByte(name, '.')+1:]; looksNumeric(last) {
		return core.Errorf(core.CallbackForbidden, "host %s: write an IPv4 address as four decimal numbers", quote(host))
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		v4, v6 := netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()
		if p.check(v4) != nil && p.check(v6) != nil {
			return core.Errorf(core.CallbackForbidden, "localhost is not allowed; the operator can allow 127.0.0.0/8 (callbacks.allow)")
		}
	}
	return nil
}

// looksNumeric reports whether a host's last component makes it an IPv4 address in
// the eyes of lenient parsers (WHATWG URL, "ends in a number").
func looksNumeric(component string) bool {
	if component == "" {
		return false
	}
	if strings.HasPrefix(component, "0x") {
		component = component[2:]
		return strings.Trim(component, "0123456789abcdef") == ""
	}
	return strings.Trim(component, "0123456789") == ""
}

// maxURL is the longest callback URL in bytes.
const maxURL = 4096

// CheckURL reports whether raw can be an endpoint: http or https, with a host and
// without credentials, and not an address that must not be reached. The error is
// CallbackForbidden. What a name's address is, is checked at each connection.
func (c *Callbacks) CheckURL(raw string) error {
	if len(raw) > maxURL {
		return core.Errorf(core.CallbackForbidden, "the URL has more than %d bytes", maxURL)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return core.Errorf(core.CallbackForbidden, "the URL cannot be read: check its spelling and escapes") // url's error shows the URL
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return core.Errorf(core.CallbackForbidden, "want an http or https URL")
	case u.Opaque != "" || u.Hostname() == "":
		return core.Errorf(core.CallbackForbidden, "the URL has no host")
	case u.User != nil:
		return core.Errorf(core.CallbackForbidden, "the URL must not hold a user name or password: callbacks are signed instead")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return core.Errorf(core.CallbackForbidden, "want a port from 1 to 65535")
		}
	}
	return c.policy.Load().checkLiteral(u.Hostname())
}
