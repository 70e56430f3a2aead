package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/routes"
)

// maxRouteTimeout bounds how long a call through a route can take.
const maxRouteTimeout = time.Hour

// routes reads the routes. Those of "between" have become one for each address.
func (d *decoder) routes(root section, c *Config) []*routes.Route {
	v := root.get("routes", list)
	if v == nil {
		return nil
	}
	var all []*routes.Route
	names := map[string]bool{}
	for i, item := range v.items {
		specs, ok := d.route(item, i, c)
		if !ok {
			continue
		}
		if specs[0].Name == "" {
			specs[0].Name = unnamed(specs[0], c.DefaultBackend)
			for n := 2; names[specs[0].Name]; n++ {
				specs[0].Name = fmt.Sprintf("%s #%d", unnamed(specs[0], c.DefaultBackend), n)
			}
		}
		for _, spec := range specs {
			if names[spec.Name] {
				d.add(item, "two routes have the name %q", spec.Name)
			}
			names[spec.Name] = true
			r, err := routes.Compile(spec, c.DefaultBackend)
			if err != nil {
				d.routeMistakes(item, err)
				break
			}
			all = append(all, r)
		}
	}
	if circle := routes.Circle(all); circle != nil {
		d.add(v, "the procedures of these routes call each other in a circle: %s", strings.Join(circle, ", "))
	}
	return all
}

// unnamed is what a route without a name is called: after where it begins.
func unnamed(s routes.Spec, defaultBackend string) string {
	if s.Procedure.Name != "" {
		return s.Procedure.Text(defaultBackend)
	}
	return s.From.Text(defaultBackend)
}

// route reads one item: a route of events, several between addresses, or a route of
// procedures.
func (d *decoder) route(item *node, i int, c *Config) ([]routes.Spec, bool) {
	if item.kind != object {
		d.wrong(item, fmt.Sprintf("routes[%d]", i), object)
		return nil, false
	}
	events, group, procedure := item.find("from") != nil, item.find("between") != nil, item.find("procedure") != nil
	name := fmt.Sprintf("routes[%d]", i)
	before := len(d.src.mistakes)
	var specs []routes.Spec
	switch {
	case events && !group && !procedure:
		specs = d.eventRoute(d.section(item, name, "name", "from", "match", "to", "when", "text", "args", "kwargs", "durable"), c)
	case group && !events && !procedure:
		specs = d.groupRoute(d.section(item, name, "name", "between", "when", "text", "args", "kwargs", "durable"), c)
	case procedure && !events && !group:
		specs = d.procedureRoute(d.section(item, name, "name", "procedure", "match", "call", "args", "kwargs", "text", "timeout"), c)
	default:
		d.add(item, "%s needs one of from (with to), between, or procedure (with call)", name)
	}
	return specs, len(d.src.mistakes) == before && len(specs) > 0
}

// routeSpec reads what all kinds of routes have.
func (d *decoder) routeSpec(s section) (r routes.Spec) {
	read := func(key string, into *string) {
		if v := s.text(key); v != nil {
			*into = v.text
		}
	}
	read("name", &r.Name)
	read("when", &r.When)
	read("text", &r.Text)
	read("args", &r.Args)
	read("kwargs", &r.Kwargs)
	if v := s.get("durable", boolean); v != nil {
		r.Durable = v.text == "true"
	}
	return r
}

func (d *decoder) eventRoute(s section, c *Config) []routes.Spec {
	r := d.routeSpec(s)
	r.From = d.routePattern(s, "from", c)
	for _, to := range d.oneOrMore(s, "to") {
		if _, ok := d.routeAddress(to, c); ok {
			r.To = append(r.To, to.text)
		}
	}
	return []routes.Spec{r}
}

func (d *decoder) groupRoute(s section, c *Config) []routes.Spec {
	r := d.routeSpec(s)
	var addresses []core.Address
	for _, item := range d.texts(s, "between") {
		a, ok := d.routeAddress(item, c)
		if slices.Contains(addresses, a) {
			d.add(item, "%s stands here twice", item.text)
		}
		if ok {
			addresses = append(addresses, a)
		}
	}
	if len(addresses) < 2 {
		d.add(s.n, "between needs two addresses or more")
		return nil
	}
	if r.Name == "" {
		r.Name = "between " + addresses[0].Text(c.DefaultBackend)
	}
	return routes.Between(r, addresses, c.DefaultBackend)
}

func (d *decoder) procedureRoute(s section, c *Config) []routes.Spec {
	r := d.routeSpec(s)
	r.Procedure = d.routePattern(s, "procedure", c)
	if v := s.text("call"); v != nil {
		r.Call, _ = d.routeAddress(v, c)
	} else {
		d.add(s.n, "%s needs call: the procedure that is called", s.name)
	}
	r.Timeout = d.duration(s, "timeout", 0, maxRouteTimeout)
	return []routes.Spec{r}
}

func (d *decoder) routePattern(s section, key string, c *Config) core.Pattern {
	v := s.text(key)
	if v == nil {
		return core.Pattern{}
	}
	a, ok := d.routeAddress(v, c)
	if !ok {
		return core.Pattern{}
	}
	p := core.Pattern{Address: a, Match: core.Exact}
	if m := s.text("match"); m != nil {
		match, err := core.ParseMatch(m.text)
		if err != nil {
			d.add(m, "match: %v", err)
		}
		p.Match = match
	}
	if err := p.Valid(); err != nil {
		d.add(v, "%s: %v", key, err)
	}
	return p
}

// routeAddress reads an address, whose name may have {{ … }}, and makes sure that its
// backend is there.
func (d *decoder) routeAddress(v *node, c *Config) (core.Address, bool) {
	a, err := core.ParseAddress(v.text, c.DefaultBackend)
	if err != nil {
		d.add(v, "%v", err)
		return a, false
	}
	known := make([]string, len(c.Backends))
	for i, b := range c.Backends {
		known[i] = b.Name
	}
	if slices.Contains(known, a.Backend) {
		return a, true
	}
	hint := "known are " + strings.Join(known, ", ")
	if near := core.Nearest(a.Backend, known); near != "" {
		hint = "did you mean " + near + "?"
	}
	d.add(v, "%s: there is no backend %q: %s", v.text, a.Backend, hint)
	return a, false
}

// oneOrMore reads a text or a list of texts.
func (d *decoder) oneOrMore(s section, key string) []*node {
	e := s.n.find(key)
	if e != nil && e.value.kind == text {
		if v := s.text(key); v != nil {
			return []*node{v}
		}
		return nil
	}
	items := d.texts(s, key)
	if len(items) == 0 && (e == nil || !e.value.bad) {
		d.add(s.n, "%s needs %s: an address, or a list of them", s.name, key)
	}
	return items
}

// routeMistakes reports what Compile has found, at the keys it means.
func (d *decoder) routeMistakes(item *node, err error) {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		d.add(item, "%v", err)
		return
	}
	for _, one := range joined.Unwrap() {
		at := item
		var m *routes.SpecError
		if errors.As(one, &m) {
			if e := item.find(m.Key); e != nil {
				at = e.value
				if at.kind == list && m.At < len(at.items) {
					at = at.items[m.At]
				}
			}
		}
		first, _, _ := strings.Cut(one.Error(), "\n") // expr adds an excerpt of its own
		d.add(at, "%s", first)
	}
}
