package routes

import (
	"fmt"
	"time"

	"github.com/anybridge/anybridge/core"
)

// Spec is one route as the configuration has it: with From and To a route of events,
// with Procedure and Call one of procedures.
type Spec struct {
	Name string // unique

	From core.Pattern
	// To are the targets: addresses, in whose names {{ … }} can stand.
	To []string
	// When, if it is not empty, is an expression that has to be true.
	When string
	// Durable has the engine keep what a target is owed until it has it.
	Durable bool

	Procedure core.Pattern
	Call      core.Address
	Timeout   time.Duration // of a call; 0: 30 s

	// Text, Args and Kwargs make the payload anew: a text with {{ … }}, an expression
	// that gives a list, and one that gives a map. Without any of them it passes
	// unchanged. Of a route of procedures Args and Kwargs make that of the call, and Text
	// that of the result.
	Text, Args, Kwargs string
}

// SpecError is what is wrong with one key of a Spec.
type SpecError struct {
	Key string // as in the configuration: "when", "to", "args" …
	At  int    // of a list: the place of the item, from 0
	Err error
}

func (m *SpecError) Error() string { return fmt.Sprintf("%s: %v", m.Key, m.Err) }

func (m *SpecError) Unwrap() error { return m.Err }

// Between makes routes that carry what is published to each of the addresses to all the
// others. The rest of the spec holds for all of them.
func Between(s Spec, addresses []core.Address, defaultBackend string) []Spec {
	var out []Spec
	for i, from := range addresses {
		each := s
		each.Name = fmt.Sprintf("%s from %s", s.Name, from.Text(defaultBackend))
		each.From, each.To = core.Pattern{Address: from, Match: core.Exact}, nil
		for j, to := range addresses {
			if i != j {
				each.To = append(each.To, escape(to.String()))
			}
		}
		out = append(out, each)
	}
	return out
}
