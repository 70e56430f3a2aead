package engine

import (
	"context"
	"time"
)

// free reports whether nobody has the right to a lane. The caller holds mu.
func (l *leases) free(x *lease) bool {
	switch x.owner {
	case "":
		return true
	case l.e.instance:
		return false
	}
	s := l.others[x.owner]
	return !x.fresh() || s != nil && s.left
}

// share takes lanes that are free, or gives some up, so that every bridge has its
// fair share. The caller holds mu.
func (l *leases) share(ctx context.Context, now time.Time) {
	held := map[string]int{l.e.instance: 0}
	for id, s := range l.others {
		if s.seq > 0 && s.fresh() {
			held[id] = 0
		}
	}
	least := len(l.lanes) / len(held)
	most := (len(l.lanes) + len(held) - 1) / len(held)
	var free []int
	for n, x := range l.lanes {
		switch {
		case x.stage == giving:
			return // one thing after the other
		case l.free(x):
			free = append(free, n)
		default:
			held[x.owner]++
		}
	}
	mine := held[l.e.instance]
	needy, richest := false, true // another bridge has too few; nobody has more than we have
	for id, n := range held {
		if id == l.e.instance {
			continue
		}
		needy = needy || n < least
		richest = richest && (n < mine || n == mine && id > l.e.instance)
	}
	if len(free) == 0 && (mine > most || mine > least && needy && richest) {
		l.giveOne()
		return
	}
	for _, n := range free {
		x := l.lanes[n]
		// What nobody takes for long is taken by anybody.
		if left := x.silent >= 2*expireAfter; mine >= least && needy && !left || mine >= most && !left || now.Sub(x.renewed) < renewTime {
			continue
		}
		mine++
		l.put(ctx, n, x.owner, now)
	}
}

// giveOne gives up one lane that is worked. The caller holds mu.
func (l *leases) giveOne() {
	for n, x := range l.lanes {
		if x.stage == working {
			l.end(n, giving, handoverTime, true)
			return
		}
	}
}
