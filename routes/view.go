package routes

import (
	"cmp"
	"slices"
	"time"

	"github.com/anybridge/anybridge/core"
)

// View is how one route to one target is doing.
type View struct {
	Route string
	From  core.Pattern // of procedures: what is offered
	To    string       // the target as configured; of procedures: what is called
	Kind  string       // "durable", "memory" or "procedure"

	// Cumulative since the bridge's start. Of procedures, Carried counts the calls and
	// Refused those that ended with an error.
	Carried, Filtered, Dropped, Refused, Failed, Braked int64
	Waiting                                             int // in memory

	LastError string
	LastAt    time.Time
}

// Views lists all routes by name and target.
func (t *Table) Views() []View {
	live := t.live.Load()
	out := make([]View, 0, len(live.carriers)+len(live.procedures))
	for _, c := range live.carriers {
		r := c.route.Load()
		v := View{
			Route: r.Name, From: r.From, To: c.to.text, Kind: "durable",
			Carried: c.count.carried.Load(), Filtered: c.count.filtered.Load(), Dropped: c.count.dropped.Load(),
			Refused: c.count.refused.Load(), Failed: c.count.failed.Load(), Braked: c.count.braked.Load(),
		}
		if c.queue != nil {
			v.Kind, v.Waiting = "memory", c.queue.Len()
		}
		v.LastError, v.LastAt = c.trouble()
		out = append(out, v)
	}
	for _, p := range live.procedures {
		r := p.route.Load()
		out = append(out, View{
			Route: r.Name, From: r.Procedure, To: r.Call.String(), Kind: "procedure",
			Carried: p.calls.Load(), Refused: p.failed.Load(), Waiting: int(p.now.Load()),
		})
	}
	slices.SortFunc(out, func(a, b View) int {
		return cmp.Or(cmp.Compare(a.Route, b.Route), cmp.Compare(a.To, b.To))
	})
	return out
}
