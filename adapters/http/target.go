package rest

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/anybridge/anybridge/core"
)

// maxURL is the longest callback URL in bytes.
const maxURL = 4096

// CheckURL reports whether raw can be an endpoint: http or https, with a host and
// without credentials, spelled so that every parser reads it alike, and not an
// address that must not be reached. The error is CallbackForbidden. What a name's
// address is, is checked at each connection.
func (c *Callbacks) CheckURL(raw string) error {
	_, err := c.policy.Load().target(raw)
	return err
}

// target reads a callback URL. The error is CallbackForbidden and does not show
// the URL, which may hold secrets.
func (p *policy) target(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, forbidden("the URL has more than %d bytes", maxURL)
	}
	for i := range len(raw) {
		if c := raw[i]; c <= ' ' || c >= 0x7f || c == '\\' {
			return nil, forbidden("the URL holds a space, a backslash, a control character or one beyond ASCII: write it percent-encoded, and an international host name as xn--…")
		}
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, forbidden("the URL cannot be read: check its spelling and escapes") // url's error shows the URL
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, forbidden("want an http or https URL")
	case u.Opaque != "" || u.Hostname() == "":
		return nil, forbidden("the URL has no host")
	case u.User != nil:
		return nil, forbidden("the URL must not hold a user name or password: callbacks are signed instead")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, forbidden("want a port from 1 to 65535")
		}
	}
	if strings.HasPrefix(u.Host, "[") {
		return u, p.checkIPv6(u.Hostname())
	}
	return u, p.checkHost(u.Hostname())
}

func forbidden(format string, args ...any) error {
	return core.Errorf(core.CallbackForbidden, format, args...)
}

// checkIPv6 checks what stands in brackets. Link-local addresses, where they are
// allowed, may have a zone (RFC 6874).
func (p *policy) checkIPv6(host string) error {
	a, err := netip.ParseAddr(host)
	switch {
	case err != nil || !a.Is6():
		return forbidden("host [%s]: want an IPv6 address in the brackets", quote(host))
	case a.Zone() != "" && (!a.IsLinkLocalUnicast() || !hostLabel(a.Zone())):
		return forbidden("host [%s]: only a link-local address has a zone", quote(host))
	}
	return p.checkLiteral(a)
}

func (p *policy) checkLiteral(a netip.Addr) error {
	if p.check(a) != nil {
		return forbidden("the address %s is not allowed; the operator can allow it (callbacks.allow)", a)
	}
	return nil
}

// checkHost checks an IPv4 address or a name. A name passes, as it is checked when
// it is dialed, unless it is one that always means an address inside, or an IPv4
// address in a spelling that only some resolvers know.
func (p *policy) checkHost(host string) error {
	if a, err := netip.ParseAddr(host); err == nil {
		return p.checkLiteral(a)
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if !hostLabel(label) {
			return forbidden("host %s is no host name", quote(host))
		}
	}
	if len(name) > 253 {
		return forbidden("the host name has more than 253 characters")
	}
	if looksNumeric(labels[len(labels)-1]) {
		return forbidden("host %s: write an IPv4 address as four decimal numbers", quote(host))
	}
	means := meaning(name)
	for _, a := range means {
		if p.check(a) == nil {
			return nil
		}
	}
	if len(means) > 0 {
		return forbidden("%s means %s, which is not allowed; the operator can allow it (callbacks.allow)", name, means[0])
	}
	return nil
}

// hostLabel reports whether s can be a component of a host name. Underscores are
// not by the book, but found in private networks.
func hostLabel(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// meaning is what some names stand for wherever they are looked up: this machine
// (RFC 6761, section 6.3, and what /etc/hosts commonly has), and the metadata
// services of clouds.
func meaning(name string) []netip.Addr {
	switch name {
	case "localhost", "localhost.localdomain", "localhost4", "localhost4.localdomain4",
		"localhost6", "localhost6.localdomain6", "ip6-localhost", "ip6-loopback", "loopback":
	case "metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal":
		return []netip.Addr{netip.AddrFrom4([4]byte{169, 254, 169, 254})}
	default:
		if !strings.HasSuffix(name, ".localhost") {
			return nil
		}
	}
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
}

// looksNumeric reports whether a host's last component makes it an IPv4 address in
// the eyes of lenient parsers (WHATWG URL, "ends in a number").
func looksNumeric(component string) bool {
	if strings.HasPrefix(component, "0x") {
		return strings.Trim(component[2:], "0123456789abcdef") == ""
	}
	return strings.Trim(component, "0123456789") == ""
}
