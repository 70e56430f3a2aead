package redis

import (
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/anybridge/anybridge/core"
)

// place is where Redis is and who we are there.
type place struct {
	kind      placeKind
	addrs     []string // host:port, or a path with unixPlace
	master    string   // with sentinelPlace
	db        int
	username  string
	password  core.Secret
	tls       bool
	tlsConfig *tls.Config
}

type placeKind int

const (
	singlePlace placeKind = iota
	sentinelPlace
	clusterPlace
	unixPlace
)

const urlForms = "want redis://host:6379/0, redis+sentinel://host:26379,host2/master/0, redis+cluster://host:7000,host2:7001 or unix:///path (rediss for TLS)"

// parseURL reads the URL by hand, because several hosts are no part of the standard's
// form. Its errors do not show the URL, which may hold a password.
func parseURL(text string) (p place, err error) {
	if text == "" {
		return p, errors.New("is missing: " + urlForms)
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return p, errors.New("" + urlForms)
	}
	base, kind, _ := strings.Cut(scheme, "+")
	p.tls = base == "rediss"
	port := "6379"
	switch {
	case scheme == "unix":
		p.kind = unixPlace
	case base != "redis" && base != "rediss":
		return p, errors.New("" + urlForms)
	case kind == "sentinel":
		p.kind, port = sentinelPlace, "26379"
	case kind == "cluster":
		p.kind = clusterPlace
	case strings.Contains(scheme, "+"):
		return p, errors.New("" + urlForms)
	}
	rest, query, _ := strings.Cut(rest, "?")
	if err := p.options(query); err != nil {
		return p, err
	}
	authority, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		if err := p.user(authority[:i]); err != nil {
			return p, err
		}
		authority = authority[i+1:]
	}
	if p.kind == unixPlace {
		if authority != "" || path == "" {
			return p, errors.New("a socket is written unix:///path/to/socket")
		}
		p.addrs = []string{"/" + path}
		return p, nil
	}
	for host := range strings.SplitSeq(authority, ",") {
		addr, err := withPort(host, port)
		if err != nil {
			return p, err
		}
		p.addrs = append(p.addrs, addr)
	}
	if p.kind == singlePlace && len(p.addrs) > 1 {
		return p, errors.New("several hosts need redis+sentinel or redis+cluster")
	}
	return p, p.path(path)
}

func (p *place) user(text string) error {
	name, password, _ := strings.Cut(text, ":")
	var err1, err2 error
	p.username, err1 = url.PathUnescape(name)
	password, err2 = url.PathUnescape(password)
	p.password = core.Secret(password)
	if err1 != nil || err2 != nil {
		return errors.New("user and password: a % must be followed by two hexadecimal digits")
	}
	return nil
}

func (p *place) options(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("what follows ? cannot be read")
	}
	for key := range values {
		if key != "db" || p.kind != unixPlace {
			return errors.New("unknown parameter after ?; settings are keys of the configuration")
		}
	}
	return p.database(values.Get("db"))
}

func (p *place) path(path string) error {
	path = strings.TrimSuffix(path, "/")
	switch p.kind {
	case sentinelPlace:
		master, db, _ := strings.Cut(path, "/")
		var err error
		if p.master, err = url.PathUnescape(master); err != nil || p.master == "" {
			return errors.New("the master's name is missing: redis+sentinel://host/master")
		}
		return p.database(db)
	case clusterPlace:
		if path != "" && path != "0" {
			return errors.New("a cluster has no database but 0")
		}
		return nil
	}
	return p.database(path)
}

func (p *place) database(text string) error {
	if text == "" {
		return nil
	}
	var err error
	if p.db, err = strconv.Atoi(text); err != nil || p.db < 0 {
		return errors.New("the database is a number")
	}
	return nil
}

func withPort(host, port string) (string, error) {
	name := host
	if h, p, err := net.SplitHostPort(host); err == nil {
		name, port = h, p
	} else {
		name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", errors.New("a port is a number from 1 to 65535")
	}
	if name == "" || strings.ContainsAny(name, " /@[]") || strings.Contains(name, ":") && net.ParseIP(name) == nil {
		return "", errors.New("a host is missing or malformed")
	}
	return net.JoinHostPort(name, port), nil
}

// redacted takes our own password out of a text.
func (p *place) redacted(text string) string {
	for _, secret := range slices.Compact([]string{string(p.password), url.QueryEscape(string(p.password))}) {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[secret]")
		}
	}
	return text
}
