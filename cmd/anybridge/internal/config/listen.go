package config

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

func (d *decoder) listen(s section) string {
	listen := DefaultListen
	if v := s.text("listen"); v != nil {
		if err := checkListen(v.text); err != nil {
			d.add(v, "listen: %v", err)
		} else {
			listen = v.text
		}
	}
	if d.o.Listen != "" {
		if err := checkListen(d.o.Listen); err != nil {
			d.src.add(0, 0, "--listen: %v", err)
		}
		listen = d.o.Listen
	}
	return listen
}

func checkListen(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not an address: want HOST:PORT, such as 127.0.0.1:8181 or [::1]:8181", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("%q is not a port: want 1 to 65535, or 0 for any that is free", port)
	}
	if _, err := netip.ParseAddr(host); err != nil && !validHost(host) {
		return fmt.Errorf("%q is neither an IP address nor a host name", host)
	}
	return nil
}

// validHost reports whether host looks like a host name; empty means all
// addresses.
func validHost(host string) bool {
	digits := true
	for _, r := range host {
		letter := r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && r != '.' && (r < '0' || r > '9') {
			return false
		}
		digits = digits && !letter
	}
	return host == "" || !digits // 127.0.0.256 is no name
}

// Loopback reports whether only this machine can reach a listen address.
func Loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func (d *decoder) tls(s section) *TLS {
	v := s.get("tls", object)
	if v == nil {
		return nil
	}
	t := d.section(v, "tls", "cert", "key")
	cert, key := t.text("cert"), t.text("key")
	if cert == nil || key == nil {
		if !t.has("cert") || !t.has("key") {
			d.add(v, "tls needs both cert and key, the paths of two PEM files")
		}
		return nil
	}
	out := &TLS{Cert: d.path(cert.text), Key: d.path(key.text)}
	if _, err := tls.LoadX509KeyPair(out.Cert, out.Key); err != nil {
		d.add(cert, "tls: load cert and key: %v", err)
	}
	return out
}
