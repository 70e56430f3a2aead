package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anybridge/anybridge/bench/internal/proc"
)

// kind says what a contender is compared as.
type kind string

const (
	ours  kind = "ours"
	floor kind = "floor"
	peer  kind = "peer"
)

// row is one line of thought of the table: one thing to do, and who does it.
type row struct {
	id           string
	title        string
	unit         string
	entries      []entry
	targets      []target
	maxRounds    int  // 0: as many as asked for
	warm         bool // a warm-up makes sense
	lessIsBetter bool
}

// entry is one contender of a row before it has been started.
type entry struct {
	kind  kind
	name  string
	start func(l *lab) (*contender, error)
}

// contender is ready to be measured.
type contender struct {
	processes []*proc.Process // all whose cost counts, the load among them
	measure   func(d time.Duration) (sample, error)
}

// sample is what one round of one contender has shown.
type sample struct {
	value      float64 // in the row's unit
	ops        int64
	errors     int64
	firstError string
	p50, p99   time.Duration
	note       string
	noise      float64 // the share of the machine that others used meanwhile
	// usage is what the processes cost; measure sets it only when it starts and
	// stops them itself.
	usage []cost
}

// cost is what one process has cost during a round.
type cost struct {
	Name string        `json:"name"`
	CPU  time.Duration `json:"cpu_ns"`
	RSS  int64         `json:"rss"`
	PSS  int64         `json:"pss"`
}

// target is what a row promises: a ratio to a contender, or a bound.
type target struct {
	against kind    // floor or peer; ours for a bound
	atLeast float64 // ratio
	atMost  float64 // bound in the row's unit
}

func (t target) String() string {
	if t.against == ours {
		return fmt.Sprintf("≤ %g", t.atMost)
	}
	return fmt.Sprintf("≥ %g×", t.atLeast)
}

// costs pairs what the processes had cost before with what they have cost after.
// A process that is new (a plugin that was started again) counts from zero.
func costs(before, after []proc.Usage) []cost {
	var c []cost
	for _, a := range after {
		spent := a.CPU
		if i := slices.IndexFunc(before, func(b proc.Usage) bool { return b.PID == a.PID }); i >= 0 {
			spent -= before[i].CPU
		}
		c = append(c, cost{Name: a.Name, CPU: spent, RSS: a.RSS, PSS: a.PSS})
	}
	return c
}

func (c *contender) usage() ([]proc.Usage, error) {
	var all []proc.Usage
	for _, p := range c.processes {
		u, err := p.Usage()
		if err != nil {
			return nil, err
		}
		all = append(all, u...)
	}
	return all, nil
}

// selectRows returns the rows with these ids, or all of them.
func selectRows(ids []string) ([]row, error) {
	all := rows()
	if len(ids) == 0 {
		return all, nil
	}
	var some []row
	for _, id := range ids {
		i := slices.IndexFunc(all, func(r row) bool { return r.id == strings.TrimSpace(id) })
		if i < 0 {
			var known []string
			for _, r := range all {
				known = append(known, r.id)
			}
			return nil, fmt.Errorf("no row %q, there are %s", id, strings.Join(known, ", "))
		}
		some = append(some, all[i])
	}
	return some, nil
}
