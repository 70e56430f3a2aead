package router

import (
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/anybridge/anybridge/core"
	"github.com/gammazero/nexus/v3/wamp"
)

// settings is a checked Config in the form that is used. It is immutable; a change
// swaps the whole.
type settings struct {
	listen     string
	loopback   bool // listen is a loopback address
	path       string
	tls        *tls.Config
	origins    []string
	anyOrigin  bool
	realms     []wamp.URI
	anonymous  *identity // nil if nobody may be anonymous
	onlyLocal  bool      // anonymous is for peers on this machine
	principals principalTable
	disclose   bool
	limits     Limits
}

// newSettings checks cfg. The error holds every mistake, each with its key.
func newSettings(cfg Config) (*settings, error) {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %w", key, fmt.Errorf(format, args...)))
	}
	s := &settings{listen: cfg.Listen, path: cfg.Path, disclose: cfg.Disclose, limits: cfg.Limits.withDefaults()}
	errs = append(errs, s.limits.check()...)

	host, _, err := net.SplitHostPort(cfg.Listen)
	switch {
	case cfg.Listen == "":
		bad("listen", "is missing; for example \"127.0.0.1:8080\"")
	case err != nil:
		bad("listen", "%w", err)
	}
	s.loopback = loopbackHost(host)

	if s.path == "" {
		s.path = "/ws"
	}
	if u, err := url.ParseRequestURI(s.path); err != nil || u.Path != s.path || s.path[0] != '/' {
		bad("path", "%q: want an absolute path such as /ws", cfg.Path)
	}
	if cfg.TLS != nil {
		cert, err := tls.LoadX509KeyPair(cfg.TLS.Cert, cfg.TLS.Key)
		if err != nil {
			bad("tls", "%w", err)
		}
		s.tls = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	}
	for i, o := range cfg.Origins {
		if o == "*" {
			s.anyOrigin = true
			continue
		}
		o = strings.ToLower(strings.TrimSuffix(o, "/"))
		if _, rest, ok := strings.Cut(o, "://"); o == "" || ok && strings.ContainsAny(rest, "/?#") || !ok && strings.Contains(o, "/") {
			bad(fmt.Sprintf("origins[%d]", i), "%q: want a web origin such as https://app.example", o)
		}
		s.origins = append(s.origins, o)
	}

	if len(cfg.Realms) == 0 {
		bad("realms", "at least one is needed")
	}
	for i, name := range cfg.Realms {
		uri := wamp.URI(name)
		if !validURI(uri, core.Exact) || strings.HasPrefix(string(name), "wamp.") {
			bad(fmt.Sprintf("realms[%d]", i), "%q is not a valid realm name", name)
		}
		if slices.Contains(s.realms, uri) {
			bad(fmt.Sprintf("realms[%d]", i), "%q is there twice", name)
		}
		s.realms = append(s.realms, uri)
	}

	switch {
	case cfg.Anonymous != nil:
		g, err := parseGrants(cfg.Anonymous.Allow)
		if err != nil {
			bad("anonymous.allow", "%w", err)
		}
		s.anonymous = &identity{kind: kindAnonymous, role: "anonymous", grants: g}
	case s.loopback:
		g, err := parseGrants([]string{"call:*", "register:*", "publish:*", "subscribe:*"})
		if err != nil {
			bad("anonymous", "%w", err)
		}
		s.anonymous, s.onlyLocal = &identity{kind: kindAnonymous, role: "anonymous", grants: g}, true
	}

	s.principals = principalTable{}
	for _, id := range slices.Sorted(maps.Keys(cfg.Principals)) {
		key := "principals." + id
		p, err := newPrincipal(id, cfg.Principals[id], s.realms)
		if err != nil {
			bad(key, "%w", err)
			continue
		}
		s.principals[id] = p
	}
	for i, t := range cfg.Tokens {
		key := fmt.Sprintf("tokens[%d]", i)
		p, err := newTokenPrincipal(t)
		if err != nil {
			bad(key, "%w", err)
			continue
		}
		if _, taken := s.principals[t.Name]; taken {
			bad(key+".name", "%q is already an authid", t.Name)
			continue
		}
		s.principals[t.Name] = p
	}
	if len(errs) > 0 {
		return nil, core.Errorf(core.InvalidArgument, "%w", errors.Join(errs...))
	}
	return s, nil
}

// ownBackend is the backend name under which scopes are parsed; scopes of a router
// have plain names.
const ownBackend = "wamp"

func parseGrants(allow []string) (core.Grants, error) {
	g, err := core.ParseGrants(allow, ownBackend)
	if err != nil {
		return core.Grants{}, err
	}
	if len(g.For(ownBackend)) != len(allow) {
		return core.Grants{}, errors.New("a scope here is *, or a verb and a name without a backend, such as call:com.shop.*")
	}
	return g, nil
}

// parseHash reads a SHA-256 hash as Token.Hash has it.
func parseHash(s string) (h [32]byte, err error) {
	if len(s) == len(h) {
		copy(h[:], s)
		return h, nil
	}
	b, err := hex.DecodeString(strings.TrimPrefix(s, "sha256:"))
	if err != nil || len(b) != len(h) {
		return h, errors.New("want a SHA-256 hash: 64 hex digits")
	}
	copy(h[:], b)
	return h, nil
}

// loopbackHost reports whether host can only be reached from this machine.
func loopbackHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
