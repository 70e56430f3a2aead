package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/anybridge/anybridge/bench/internal/proc"
	"github.com/anybridge/anybridge/bench/internal/stats"
)

// tooNoisy is the share of the machine that others may use during a round before
// the round is repeated.
const tooNoisy = 0.1

// measure runs one row: all contenders are started, then take turns.
func (l *lab) measure(ctx context.Context, r row) rowResult {
	fmt.Fprintf(l.progress, "row %s: %s\n", r.id, r.title)
	defer l.stopAll()
	result := rowResult{ID: r.id, Title: r.title, Unit: r.unit}
	contenders := make([]*contender, len(r.entries))
	samples := make([][]sample, len(r.entries))
	problems := make([]string, len(r.entries))
	for i, e := range r.entries {
		c, err := e.start(l)
		if err != nil {
			problems[i] = err.Error()
			fmt.Fprintf(l.progress, "  %s: %v\n", e.name, err)
			continue
		}
		contenders[i] = c
	}
	rounds := l.opt.rounds
	if r.maxRounds > 0 {
		rounds = min(rounds, r.maxRounds)
	}
	first := 1
	if r.warm {
		first = 0 // round 0 is the warm-up
	}
	patience := l.opt.patience
	for round := first; round <= rounds && ctx.Err() == nil; round++ {
		turn := make([]*sample, len(contenders))
		var noise float64
		for i, c := range contenders {
			if c == nil || ctx.Err() != nil {
				continue
			}
			d := l.opt.time
			if round == 0 {
				d = l.opt.warmup
			}
			s, err := l.round(c, r, r.entries[i], round, d)
			if err != nil {
				problems[i] = err.Error()
				fmt.Fprintf(l.progress, "  %s: %v\n", r.entries[i].name, err)
				contenders[i] = nil
				continue
			}
			fmt.Fprintf(l.progress, "  round %d  %-24s %10s %s  p50 %s p99 %s  %s  (others used %.0f %% of the machine)\n",
				round, r.entries[i].name, number(s.value), r.unit, latency(s.p50), latency(s.p99), s.note, 100*s.noise)
			if s.errors > 0 {
				fmt.Fprintf(l.progress, "    %d errors: %s\n", s.errors, s.firstError)
			}
			turn[i] = &s
			noise = max(noise, s.noise)
		}
		if round == 0 {
			continue
		}
		if noise > tooNoisy && patience > 0 && r.warm {
			patience--
			round--
			fmt.Fprintln(l.progress, "  once more: somebody else was busy")
			continue
		}
		for i, s := range turn {
			if s != nil {
				samples[i] = append(samples[i], *s)
			}
		}
	}
	for i, e := range r.entries {
		result.Contenders = append(result.Contenders, summarise(e, samples[i], problems[i]))
	}
	result.compare(r)
	return result
}

// round measures one contender once, with the cost of its processes.
func (l *lab) round(c *contender, r row, e entry, round int, d time.Duration) (sample, error) {
	before, err := c.usage()
	if err != nil {
		return sample{}, err
	}
	busy, err := proc.Busy()
	if err != nil {
		return sample{}, err
	}
	start := time.Now()
	stopProfile := func() {}
	if e.kind == ours && round == 1 && l.opt.profile != "" {
		stopProfile = l.collectProfiles(c, r.id, d)
	}
	s, err := c.measure(d)
	stopProfile()
	if err != nil {
		return sample{}, err
	}
	after, err := c.usage()
	if err != nil {
		return sample{}, err
	}
	if s.usage != nil || len(after) == 0 {
		return s, nil
	}
	s.usage = costs(before, after)
	for _, u := range s.usage {
		busy += u.CPU
	}
	now, err := proc.Busy()
	if err != nil {
		return sample{}, err
	}
	s.noise = max(0, (now-busy).Seconds()/time.Since(start).Seconds()/float64(runtime.NumCPU()))
	return s, nil
}

// summarise takes the median of everything over the rounds.
func summarise(e entry, samples []sample, problem string) contenderResult {
	c := contenderResult{Name: e.name, Kind: e.kind, Problem: problem}
	if len(samples) == 0 {
		return c
	}
	pick := func(f func(sample) float64) float64 {
		var v []float64
		for _, s := range samples {
			v = append(v, f(s))
		}
		return stats.Median(v)
	}
	for _, s := range samples {
		c.Rounds = append(c.Rounds, s.value)
		c.Errors += s.errors
		if c.FirstError == "" {
			c.FirstError = s.firstError
		}
	}
	c.Value = stats.Median(c.Rounds)
	c.P50 = time.Duration(pick(func(s sample) float64 { return float64(s.p50) }))
	c.P99 = time.Duration(pick(func(s sample) float64 { return float64(s.p99) }))
	c.Noise = pick(func(s sample) float64 { return s.noise })
	last := samples[len(samples)-1]
	c.Note = last.note
	for i, u := range last.usage {
		at := func(s sample) cost {
			if i < len(s.usage) && s.usage[i].Name == u.Name {
				return s.usage[i]
			}
			return cost{} // a process that was not there in that round
		}
		c.Processes = append(c.Processes, processResult{
			Name: u.Name,
			CPU: pick(func(s sample) float64 {
				if s.ops == 0 {
					return 0
				}
				return at(s).CPU.Seconds() / float64(s.ops) * 1000
			}),
			RSS: pick(func(s sample) float64 { return float64(at(s).RSS) }),
			PSS: pick(func(s sample) float64 { return float64(at(s).PSS) }),
		})
	}
	return c
}
