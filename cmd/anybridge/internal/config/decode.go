package config

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/anybridge/anybridge/core"
)

// decoder turns the tree into a Config. Each method reports what is wrong and goes
// on with a value that does no harm.
type decoder struct {
	src *source
	dir string // relative paths belong to it
	o   Options
}

func (d *decoder) config(root *node) *Config {
	c := &Config{}
	s := d.section(root, "the configuration", "listen", "tls", "data_dir", "engine", "default_backend", "tokens", "limits", "audit", "callbacks", "backends", "routes")
	c.Listen = d.listen(s)
	c.TLS = d.tls(s)
	c.DataDir = d.path(DefaultDataDir)
	if v := s.text("data_dir"); v != nil {
		c.DataDir = d.path(v.text)
	}
	if d.o.DataDir != "" {
		c.DataDir = d.o.DataDir
	}
	c.Backends = d.backends(s)
	c.DefaultBackend = d.defaultBackend(s, c.Backends)
	c.Limits = d.limits(s)
	c.Audit = d.audit(s)
	c.Engine = d.engine(s)
	c.Tokens = d.tokens(s, c)
	c.Callbacks = d.callbacks(s, c.Listen)
	c.Routes = d.routes(s, c)
	return c
}

// section is a map whose keys are known.
type section struct {
	d    *decoder
	n    *node
	name string
}

// section reports the keys of n that are not known, and n itself if it is not a
// map.
func (d *decoder) section(n *node, name string, known ...string) section {
	s := section{d: d, n: n, name: name}
	if n.kind != object {
		d.wrong(n, name, object)
		s.n = &node{kind: object, line: n.line, column: n.column}
		return s
	}
	for _, e := range n.entries {
		if slices.Contains(known, e.key) {
			continue
		}
		hint := "known are " + strings.Join(known, ", ")
		if near := core.Nearest(e.key, known); near != "" {
			hint = "did you mean " + near + "?"
		}
		d.src.add(e.line, e.column, "unknown key %q in %s: %s", e.key, name, hint)
	}
	return s
}

// get returns the value of a key if it is there and of the wanted kind, else nil.
func (s section) get(key string, want kind) *node {
	e := s.n.find(key)
	if e == nil || e.value.bad {
		return nil
	}
	if e.value.kind != want {
		s.d.wrong(e.value, key, want)
		return nil
	}
	return e.value
}

// text returns the text of a key, or nil. Empty text is a mistake: the key can be
// left out instead.
func (s section) text(key string) *node {
	v := s.get(key, text)
	switch {
	case v == nil || v.bad:
		return nil
	case v.text == "":
		s.d.add(v, "%s is empty", key)
		return nil
	}
	return v
}

func (s section) has(key string) bool { return s.n.find(key) != nil }

func (d *decoder) wrong(n *node, name string, want kind) {
	hint := ""
	if want == text && (n.kind == number || n.kind == boolean) {
		hint = " (put it in quotes)"
	}
	d.src.add(n.line, n.column, "%s must be %s, not %s%s", name, want, n.kind, hint)
}

func (d *decoder) add(n *node, format string, args ...any) {
	d.src.add(n.line, n.column, format, args...)
}

// path makes a path of the file absolute: it is relative to the file's folder.
func (d *decoder) path(p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(d.dir, p)
}

// duration reads a positive duration.
func (d *decoder) duration(s section, key string, fallback, most time.Duration) time.Duration {
	e := s.n.find(key)
	if e == nil || e.value.bad {
		return fallback
	}
	if e.value.kind != text && e.value.kind != number {
		d.wrong(e.value, key, text)
		return fallback
	}
	v, err := time.ParseDuration(e.value.text)
	switch {
	case err != nil:
		d.add(e.value, `%s must be a duration such as "500ms", "15s" or "2m"`, key)
		return fallback
	case v <= 0 || v > most:
		d.add(e.value, "%s must be more than 0 and at most %s", key, most)
		return fallback
	}
	return v
}

// texts reads a list of texts.
func (d *decoder) texts(s section, key string) []*node {
	v := s.get(key, list)
	if v == nil {
		return nil
	}
	out := make([]*node, 0, len(v.items))
	for _, item := range v.items {
		if item.kind != text {
			d.wrong(item, "each item of "+key, text)
			continue
		}
		if !item.bad {
			out = append(out, item)
		}
	}
	return out
}

// message is what went wrong, without the code.
func message(err error) string { return core.AsError(err).Message }
