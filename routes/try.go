package routes

import "github.com/anybridge/anybridge/core"

// Trial is what one route would do with an event.
type Trial struct {
	Route string
	To    string      // the target as configured
	Event *core.Event // what would be published; nil if the route leaves the event
	Err   error       // an expression failed
}

// Try tells what routes would do with an event, without carrying it: nothing for routes
// that begin elsewhere.
func Try(all []*Route, e *core.Event) (out []Trial) {
	for _, r := range all {
		if !r.isEvents() || !r.From.Matches(e.Topic) {
			continue
		}
		for _, to := range r.targets {
			t := Trial{Route: r.Name, To: to.text}
			env, err := r.envOf(e)
			wanted := err == nil
			if wanted {
				wanted, err = r.wants(env)
			}
			if wanted {
				t.Event, err = r.event(e, env, to)
			}
			t.Err = err
			out = append(out, t)
		}
	}
	return out
}

// Circle returns the names of routes of procedures that call each other in a circle, or
// nil if there are none.
func Circle(all []*Route) []string {
	next := map[core.Address]*Route{}
	for _, r := range all {
		if !r.isEvents() {
			next[r.Procedure.Address] = r
		}
	}
	for _, start := range all {
		if start.isEvents() {
			continue
		}
		names := []string{start.Name}
		for r := next[start.Call]; r != nil && len(names) <= len(all); r = next[r.Call] {
			if r == start {
				return names
			}
			names = append(names, r.Name)
		}
	}
	return nil
}
