package config

import (
	"math"
	"strconv"

	"github.com/anybridge/anybridge/core"
)

// DefaultEndpoints is how many registrations and subscriptions a token may hold.
const DefaultEndpoints = 10_000

// Bounds of the limits themselves.
const (
	minRate      = 0.001
	maxRate      = 1_000_000
	maxBurst     = 1_000_000
	maxEndpoints = 10_000_000
	minBody      = 1 << 10
	maxBody      = 64 << 20
	maxClients   = 1_000_000
)

// unlimited is what stands for no limit.
const unlimited = "unlimited"

// Limits say what clients can cost.
type Limits struct {
	Token core.TokenLimits // of tokens that have none of their own

	// These are 0 where the file says nothing.
	Body                  int // bytes of a request's body
	Connections           int
	ConnectionsPerAddress int
}

func (d *decoder) limits(root section) Limits {
	l := Limits{Token: core.TokenLimits{Endpoints: DefaultEndpoints}}
	v := root.get("limits", object)
	if v == nil {
		return l
	}
	s := d.section(v, "limits", "rate", "endpoints", "body", "connections", "connections_per_address")
	l.Token = d.tokenLimits(s, l.Token)
	l.Body = d.count(s, "body", 0, minBody, maxBody)
	l.Connections = d.count(s, "connections", 0, 1, maxClients)
	l.ConnectionsPerAddress = d.count(s, "connections_per_address", 0, 1, maxClients)
	return l
}

// tokenLimits reads the limits of a token, or of all that have none.
func (d *decoder) tokenLimits(s section, fallback core.TokenLimits) core.TokenLimits {
	l := fallback
	if e := s.n.find("rate"); e != nil && !e.value.bad {
		l.PerSecond, l.Burst = d.rate(e.value)
	}
	if e := s.n.find("endpoints"); e != nil && e.value.kind == text && e.value.text == unlimited {
		l.Endpoints = 0
	} else {
		l.Endpoints = d.count(s, "endpoints", fallback.Endpoints, 1, maxEndpoints)
	}
	return l
}

// rate reads a number of requests per second, alone or with a burst.
func (d *decoder) rate(n *node) (perSecond float64, burst int) {
	switch {
	case n.kind == text && n.text == unlimited:
		return 0, 0
	case n.kind == object:
		s := d.section(n, "rate", "per_second", "burst")
		e := s.n.find("per_second")
		if e == nil {
			d.add(n, "rate needs per_second")
			return 0, 0
		}
		perSecond, ok := d.number(e.value, "per_second", minRate, maxRate)
		if !ok {
			return 0, 0
		}
		return perSecond, d.count(s, "burst", defaultBurst(perSecond), 1, maxBurst)
	case n.kind == number || n.kind == text:
		perSecond, ok := d.number(n, "rate", minRate, maxRate)
		if !ok {
			return 0, 0
		}
		return perSecond, defaultBurst(perSecond)
	}
	d.add(n, "rate must be requests per second, such as 100, {per_second: 100, burst: 500}, or %s", unlimited)
	return 0, 0
}

// defaultBurst is what comes within a second.
func defaultBurst(perSecond float64) int { return int(math.Ceil(perSecond)) }

// count reads a whole number.
func (d *decoder) count(s section, key string, fallback, least, most int) int {
	e := s.n.find(key)
	if e == nil || e.value.bad {
		return fallback
	}
	v, ok := d.number(e.value, key, float64(least), float64(most))
	if !ok {
		return fallback
	}
	if v != math.Trunc(v) {
		d.add(e.value, "%s must be a whole number", key)
		return fallback
	}
	return int(v)
}

// number reads a number, also one that comes from the environment as text.
func (d *decoder) number(n *node, name string, least, most float64) (float64, bool) {
	if n.bad {
		return 0, false
	}
	if n.kind != number && n.kind != text {
		d.wrong(n, name, number)
		return 0, false
	}
	v, err := strconv.ParseFloat(n.text, 64)
	switch {
	case err != nil:
		d.add(n, "%s must be a number", name)
	case !(v >= least && v <= most):
		d.add(n, "%s must be %s to %s", name, plain(least), plain(most))
	default:
		return v, true
	}
	return 0, false
}

func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
