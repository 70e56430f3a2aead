package routes

import (
	"context"

	"github.com/anybridge/anybridge/core"
)

// Deliverer puts the routes between the bridge and next, which delivers to everybody
// else and to the routes that are durable.
func (t *Table) Deliverer(next core.Deliverer) core.Deliverer { return deliverer{t, next} }

type deliverer struct {
	table *Table
	core.Deliverer
}

// Deliver implements core.Deliverer. What is to be stored goes first: if that fails, the
// bridge tries again with all of it.
func (d deliverer) Deliver(ctx context.Context, owed []core.Owed) error {
	live := d.table.live.Load()
	if len(live.carriers) == 0 {
		return d.Deliverer.Deliver(ctx, owed)
	}
	stored := make([]core.Owed, 0, len(owed))
	var offers []offer
	for i := range owed {
		o := owed[i]
		o.To, offers = live.split(&owed[i], offers)
		if len(o.To) > 0 {
			stored = append(stored, o)
		}
	}
	if len(stored) > 0 {
		if err := d.Deliverer.Deliver(ctx, stored); err != nil {
			return err
		}
	}
	for _, o := range offers {
		o.to.offer(o.event)
	}
	return nil
}

// offer is an event for a route that is not durable.
type offer struct {
	to    *carrier
	event *core.Event
}

// split appends to offers what is for routes that are not durable, and returns who else
// is owed the event.
func (l *tables) split(o *core.Owed, offers []offer) ([]*core.Subscription, []offer) {
	at := 0
	for at < len(o.To) && !core.IsRoute(o.To[at].Owner) {
		at++
	}
	if at == len(o.To) {
		return o.To, offers
	}
	to := append([]*core.Subscription(nil), o.To[:at]...)
	for _, s := range o.To[at:] {
		c := l.carriers[s.Owner]
		switch {
		case !core.IsRoute(s.Owner), c == nil && !s.Volatile:
			to = append(to, s)
		case c == nil: // gone meanwhile
		case c.queue != nil:
			offers = append(offers, offer{c, o.Event})
		case c.wants(o.Event):
			to = append(to, s)
		}
	}
	return to, offers
}

// Invoker puts the routes between the bridge and next, which answers everybody else.
func (t *Table) Invoker(next core.Invoker) core.Invoker { return invoker{t, next} }

type invoker struct {
	table *Table
	next  core.Invoker
}

// Invoke implements core.Invoker.
func (i invoker) Invoke(ctx context.Context, r *core.Registration, inv *core.Invocation) (*core.Result, error) {
	if !core.IsRoute(r.Owner) {
		return i.next.Invoke(ctx, r, inv)
	}
	p := i.table.live.Load().procedures[r.Owner]
	if p == nil {
		return nil, core.Errorf(core.NoSuchProcedure, "the route is gone")
	}
	return p.invoke(ctx, inv)
}
