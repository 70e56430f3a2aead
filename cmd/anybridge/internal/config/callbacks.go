package config

import (
	"net/netip"
	"net/url"
	"time"
)

// maxCallbackTimeout bounds how long one attempt at a callback can take.
const maxCallbackTimeout = time.Hour

func (d *decoder) callbacks(root section, listen string) Callbacks {
	c := Callbacks{Timeout: DefaultCallbackTimeout}
	v := root.get("callbacks", object)
	if v == nil {
		v = &node{kind: object}
	}
	s := d.section(v, "callbacks", "allow", "timeout", "ca", "proxy")
	c.Timeout = d.duration(s, "timeout", DefaultCallbackTimeout, maxCallbackTimeout)
	c.CA = d.authorities(s)
	c.Proxy = d.proxy(s)
	switch {
	case s.has("allow"):
		for _, item := range d.texts(s, "allow") {
			if prefix, ok := d.prefix(item); ok {
				c.Allow = append(c.Allow, prefix)
			}
		}
	case Loopback(listen):
		c.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	return c
}

// prefix reads a network, or one address.
func (d *decoder) prefix(n *node) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(n.text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), true
	}
	p, err := netip.ParsePrefix(n.text)
	switch {
	case err != nil:
		d.add(n, "%q is not a network: want addresses such as 10.1.0.0/16, 192.168.7.4 or fd00::/8", n.text)
		return p, false
	case p.Addr().Is4In6():
		d.add(n, "%s: write IPv4 networks as IPv4", n.text)
		return p, false
	case p != p.Masked():
		d.add(n, "%s is not a network: did you mean %s?", n.text, p.Masked())
		return p, false
	}
	return p, true
}

func (d *decoder) proxy(s section) *url.URL {
	v := s.text("proxy")
	if v == nil {
		return nil
	}
	u, err := url.Parse(v.text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5" {
		d.add(v, "proxy must be a URL such as http://proxy.example:3128 (http, https or socks5)")
		return nil
	}
	return u
}
