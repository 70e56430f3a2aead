package config

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/anybridge/anybridge/core"
)

func (d *decoder) backends(s section) []Backend {
	if !s.has("backends") {
		return []Backend{{Name: DefaultBackend, Kind: "wamp", Config: json.RawMessage(defaultWAMP)}}
	}
	v := s.get("backends", object)
	if v == nil {
		return nil
	}
	if len(v.entries) == 0 {
		d.add(v, "backends is empty (leave it out for a WAMP router on 127.0.0.1:8080)")
	}
	out := make([]Backend, 0, len(v.entries))
	for _, e := range v.entries {
		if !core.ValidBackendName(e.key) {
			d.src.add(e.line, e.column, "backend name %q: want 1 to 64 characters of a-z, 0-9, _ and -, beginning with a letter", e.key)
		}
		out = append(out, d.backend(e))
	}
	return out
}

// backend reads one backend. What is wrong with it does not make it disappear:
// other sections refer to its name.
func (d *decoder) backend(e entry) Backend {
	b := Backend{Name: e.key}
	switch {
	case e.value.kind != object:
		d.wrong(e.value, "backend "+e.key, object)
	case e.value.find("kind") != nil && e.value.find("plugin") != nil:
		d.add(e.value, "backend %s has both kind and plugin: it is either built in or a program of its own", e.key)
	case e.value.find("kind") != nil:
		d.builtin(e, &b)
	case e.value.find("plugin") != nil:
		d.plugin(e, &b)
	default:
		d.add(e.value, "backend %s needs a kind (%s), or the path of a plugin", e.key, strings.Join(d.kinds(), ", "))
		if near := d.misspelt(e.value); near != nil {
			d.src.add(near.line, near.column, "unknown key %q in backend %s: did you mean %s?", near.key, e.key, core.Nearest(near.key, []string{"kind", "plugin"}))
		}
	}
	return b
}

func (d *decoder) misspelt(n *node) *entry {
	for i, e := range n.entries {
		if core.Nearest(e.key, []string{"kind", "plugin"}) != "" {
			return &n.entries[i]
		}
	}
	return nil
}

func (d *decoder) kinds() []string { return slices.Sorted(maps.Keys(d.o.Kinds)) }

// builtin reads the section of a built-in backend, whose own keys stand beside
// kind.
func (d *decoder) builtin(e entry, b *Backend) {
	s := section{d: d, n: e.value, name: "backend " + e.key}
	v := s.text("kind")
	if v == nil {
		return
	}
	kind, known := d.o.Kinds[v.text]
	if !known {
		hint := "known are " + strings.Join(d.kinds(), ", ")
		if near := core.Nearest(v.text, d.kinds()); near != "" {
			hint = "did you mean " + near + "?"
		}
		d.add(v, "unknown kind %q: %s (a backend of your own is a plugin)", v.text, hint)
		return
	}
	own := *e.value
	own.entries = slices.DeleteFunc(slices.Clone(own.entries), func(x entry) bool { return x.key == "kind" })
	if x := own.find("tokens"); x != nil {
		d.src.add(x.line, x.column, "unknown key %q in backend %s: tokens stand at the top of the file and count everywhere", x.key, e.key)
		return
	}
	for _, path := range kind.Paths {
		d.resolve(&own, path)
	}
	b.Kind, b.Config = v.text, own.raw()
	if kind.Check != nil {
		d.checked(&own, "", kind.Check(b.Config))
	}
}

// resolve makes the file that a key names absolute.
func (d *decoder) resolve(n *node, path string) {
	for key := range strings.SplitSeq(path, ".") {
		e := n.find(key)
		if e == nil {
			return
		}
		n = e.value
	}
	if n.kind == text && n.text != "" {
		n.text = d.path(n.text)
	}
}

// plugin reads the section of a plugin: the program and its own configuration.
func (d *decoder) plugin(e entry, b *Backend) {
	s := d.section(e.value, "backend "+e.key, "plugin", "sha256", "config")
	b.Config = json.RawMessage("{}")
	if v := s.get("config", object); v != nil {
		b.Config = v.raw()
	}
	if v := s.text("sha256"); v != nil {
		if sum, err := hex.DecodeString(v.text); err != nil || len(sum) != 32 {
			d.add(v, "sha256 must be 64 hexadecimal digits, as sha256sum prints them")
		}
		b.SHA256 = strings.ToLower(v.text)
	}
	v := s.text("plugin")
	if v == nil {
		return
	}
	b.Plugin = d.path(v.text)
	switch info, err := os.Stat(b.Plugin); {
	case err != nil:
		d.add(v, "plugin: there is no program %s", b.Plugin)
	case info.IsDir() || info.Mode().Perm()&0o111 == 0:
		d.add(v, "plugin: %s is not a program that can be run", b.Plugin)
	}
}

// checked places what a backend's own check found. prefix is what wrapped errors
// have put in front of err.
func (d *decoder) checked(section *node, prefix string, err error) {
	switch e := err.(type) { //nolint:errorlint // each layer by itself
	case nil:
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			d.checked(section, prefix, one)
		}
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil && holdsSeveral(inner) {
			if before, ok := strings.CutSuffix(err.Error(), inner.Error()); ok {
				d.checked(section, prefix+before, inner)
				return
			}
		}
		d.found(section, prefix+err.Error())
	default:
		d.found(section, prefix+err.Error())
	}
}

// holdsSeveral reports whether an error is a list of errors, or wraps one.
func holdsSeveral(err error) bool {
	for err != nil {
		if _, ok := err.(interface{ Unwrap() []error }); ok {
			return true
		}
		err = errors.Unwrap(err)
	}
	return false
}

var leadingPath = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*((\.|: )[A-Za-z_][A-Za-z0-9_-]*|\[[0-9]+\])*: `)

// found puts a message as deep in the section as the path in front of it leads.
func (d *decoder) found(section *node, msg string) {
	n, line, column := section, section.line, section.column
	path := strings.TrimSuffix(leadingPath.FindString(msg), ": ")
	for step := range strings.FieldsFuncSeq(path, func(r rune) bool { return strings.ContainsRune(".[]: ", r) }) {
		if i, err := strconv.Atoi(step); err == nil && n.kind == list {
			if i >= len(n.items) {
				break
			}
			n = n.items[i]
			line, column = n.line, n.column
			continue
		}
		e := n.find(step)
		if e == nil {
			break
		}
		n = e.value
		line, column = n.line, n.column
		if n.kind == object || n.kind == list {
			line, column = e.line, e.column
		}
	}
	d.src.add(line, column, "%s", msg)
}

func (d *decoder) defaultBackend(s section, backends []Backend) string {
	names := make([]string, len(backends))
	for i, b := range backends {
		names[i] = b.Name
	}
	if v := s.text("default_backend"); v != nil {
		if len(names) > 0 && !slices.Contains(names, v.text) {
			hint := "backends are " + strings.Join(names, ", ")
			if near := core.Nearest(v.text, names); near != "" {
				hint = "did you mean " + near + "?"
			}
			d.add(v, "default_backend: there is no backend named %q: %s", v.text, hint)
		}
		return v.text
	}
	switch {
	case slices.Contains(names, DefaultBackend) || len(names) == 0:
		return DefaultBackend
	case len(names) == 1:
		return names[0]
	}
	if e := s.n.find("backends"); e != nil && !s.has("default_backend") {
		d.src.add(e.line, e.column, "say which backend addresses without a prefix mean: default_backend: %s", strings.Join(names, " or "))
	}
	return ""
}
