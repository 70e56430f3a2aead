package tests

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// report logs the table.
func (l *killLoop) report(t *testing.T) {
	t.Helper()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

	row("killed\ttimes\tready again: median\tslowest")
	for _, victim := range []string{theBridge, thePlugin} {
		var back []time.Duration
		count := 0
		for _, k := range l.kills {
			if k.victim == victim {
				count++
				if k.back > 0 {
					back = append(back, k.back.Round(time.Millisecond))
				}
			}
		}
		slices.Sort(back)
		if len(back) > 0 {
			row("%s\t%d\t%s\t%s", victim, count, back[len(back)/2], back[len(back)-1])
		}
	}

	row("\nclient\tasked\tacknowledged\trefused\tunknown\tanswers")
	for _, p := range l.publishers {
		row("%s", summary(p.name, p.keyed, p.requests, p.answers))
	}
	for _, c := range l.callers {
		row("%s", summary(c.name+" "+c.procedure, c.keyed, c.requests, c.answers))
	}

	row("\nsubscriber\tevents\tcallbacks\tagain after a kill\tafter a repeated publish\tunknown that came\tlost of PUBLISHED by the router\tlongest silence")
	for _, s := range l.subscribers {
		byKill, byRepeat, _ := s.duplicates(l.publishers, l.kills)
		came, lost, published := s.unpromised(l.publishers)
		row("%s\t%d\t%d\t%d\t%d\t%d\t%d of %d\t%s", s.name, len(s.arrivals), s.count, byKill, byRepeat, came, lost, published,
			s.silence(l.ended).Round(time.Millisecond))
	}

	_, kinds := l.calls.wrong(l.callers)
	row("\noutcomes of calls\t(again after a 2xx: %d)", l.calls.repeated)
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		row("%s\t%d", kind, kinds[kind])
	}
	w.Flush()
	t.Logf("what happened:\n%s", &b)
}

// summary is one client's line in the table.
func summary(name string, keyed bool, requests []*request, answers map[string]int) string {
	counts := map[outcome]int{}
	for _, r := range requests {
		counts[r.outcome]++
	}
	if keyed {
		name += " (with keys)"
	}
	return fmt.Sprintf("%s\t%d\t%d\t%d\t%d\t%s", name, len(requests), counts[acknowledged], counts[refused], counts[unknown],
		strings.TrimPrefix(fmt.Sprint(answers), "map"))
}
