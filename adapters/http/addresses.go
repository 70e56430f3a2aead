package rest

import (
	"bytes"
	"errors"
	"net/netip"

	"code.dny.dev/ssrf"
)

// addresses are those that callbacks may reach: public ones (what IANA's registries
// of special-purpose addresses leave over) and the networks that the operator
// allowed. It is immutable.
type addresses struct {
	guard *ssrf.Guardian
	nat64 []netip.Prefix // those of the allowed networks that lie in localNAT64
}

// errForbidden is what dialing a forbidden address comes to. It does not show the
// address: who is behind a name inside is nobody's business outside.
var errForbidden = errors.New("its address is not allowed")

func newAddresses(allow []netip.Prefix) *addresses {
	a := &addresses{}
	var v4, v6 []netip.Prefix
	for _, prefix := range allow {
		if mapped := prefix.Addr(); mapped.Is4In6() && prefix.Bits() >= 96 {
			prefix = netip.PrefixFrom(mapped.Unmap(), prefix.Bits()-96)
		}
		prefix = prefix.Masked()
		if prefix.Addr().Is4() {
			v4 = append(v4, prefix)
			continue
		}
		v6 = append(v6, prefix)
		if local := localNAT64(); local.Bits() <= prefix.Bits() && local.Contains(prefix.Addr()) {
			a.nat64 = append(a.nat64, prefix)
		}
	}
	a.guard = ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...),
		// Azure's metadata and DNS service has an address that is public by the book.
		ssrf.WithDeniedV4Prefixes(netip.PrefixFrom(netip.AddrFrom4([4]byte{168, 63, 129, 16}), 32)))
	return a
}

// check returns errForbidden for an address that must not be reached. IPv4
// addresses inside an IPv6 one must be allowed themselves.
func (a *addresses) check(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() || a.guard.SafeAddr(addr) != nil {
		return errForbidden
	}
	if addr.Is4() {
		return nil
	}
	inside, known := a.embedded(addr)
	if !known {
		return errForbidden
	}
	for _, v4 := range inside {
		if a.guard.SafeAddr(v4) != nil {
			return errForbidden
		}
	}
	return nil
}

// embedded are the IPv4 addresses that packets to an IPv6 address may end at, if
// some translator or tunnel stands on the way. It reports false if that cannot be
// known.
func (a *addresses) embedded(addr netip.Addr) ([]netip.Addr, bool) {
	b := addr.As16()
	at := func(i ...int) netip.Addr { return netip.AddrFrom4([4]byte{b[i[0]], b[i[1]], b[i[2]], b[i[3]]}) }
	begins := func(prefix ...byte) bool { return bytes.HasPrefix(b[:], prefix) }
	last := at(12, 13, 14, 15)
	switch {
	case addr.IsUnspecified(), addr.IsLoopback():
		return nil, true
	case begins(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), // IPv4-compatible (RFC 4291, section 2.5.5.1)
		begins(0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0),    // IPv4-translated (RFC 2765, section 2.1)
		begins(0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0): // NAT64 (RFC 6052, section 2.1)
		return []netip.Addr{last}, true
	case localNAT64().Contains(addr):
		return a.translated(addr, at)
	case begins(0x20, 0x02): // 6to4 (RFC 3056, section 2)
		return []netip.Addr{at(2, 3, 4, 5)}, true
	case begins(0x20, 0x01, 0, 0): // Teredo: server and client (RFC 4380, section 4)
		client := last.As4()
		for i := range client {
			client[i] ^= 0xff
		}
		return []netip.Addr{at(4, 5, 6, 7), netip.AddrFrom4(client)}, true
	case b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP (RFC 5214, section 6.1)
		return []netip.Addr{last}, true
	}
	return nil, true
}

// localNAT64 is the block for NAT64 within one network (RFC 8215).
func localNAT64() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0, 0x64, 0xff, 0x9b, 0, 1}), 48)
}

// translated is embedded for an address in localNAT64: where the IPv4 address
// stands depends on the length of the translator's prefix, which is that of the
// network that the operator allowed (RFC 6052, section 2.2).
func (a *addresses) translated(addr netip.Addr, at func(...int) netip.Addr) (inside []netip.Addr, known bool) {
	for _, prefix := range a.nat64 {
		switch bits := prefix.Bits(); {
		case !prefix.Contains(addr):
			continue
		case bits == 48:
			inside = append(inside, at(6, 7, 9, 10))
		case bits == 56:
			inside = append(inside, at(7, 9, 10, 11))
		case bits == 64:
			inside = append(inside, at(9, 10, 11, 12))
		case bits >= 96:
			inside = append(inside, at(12, 13, 14, 15))
		default:
			return nil, false
		}
	}
	return inside, len(inside) > 0
}
