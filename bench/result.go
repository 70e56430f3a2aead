package main

import (
	"time"

	"github.com/anybridge/anybridge/bench/internal/stats"
)

// table is everything that is printed.
type table struct {
	Machine machine     `json:"machine"`
	Command string      `json:"command"`
	Options string      `json:"options"`
	Rows    []rowResult `json:"rows"`
}

type rowResult struct {
	ID         string            `json:"id"`
	Title      string            `json:"title"`
	Unit       string            `json:"unit"`
	Contenders []contenderResult `json:"contenders"`
}

type contenderResult struct {
	Name      string          `json:"name"`
	Kind      kind            `json:"kind"`
	Value     float64         `json:"value"` // the median of Rounds
	Rounds    []float64       `json:"rounds"`
	P50       time.Duration   `json:"p50_ns"`
	P99       time.Duration   `json:"p99_ns"`
	Processes []processResult `json:"processes"`
	Errors    int64           `json:"errors"`
	// FirstError is one of the Errors; Problem is why there is nothing to show.
	FirstError string  `json:"first_error,omitempty"`
	Problem    string  `json:"problem,omitempty"`
	Note       string  `json:"note,omitempty"`
	Ratio      float64 `json:"ratio,omitempty"`     // how many times better ours is, the median over the rounds
	CPURatio   float64 `json:"cpu_ratio,omitempty"` // how many times the CPU time per operation of this one ours takes
	Noise      float64 `json:"noise,omitempty"`     // the share of the machine that others used, the median over the rounds
	Target     string  `json:"target,omitempty"`
	Met        *bool   `json:"met,omitempty"`
}

type processResult struct {
	Name string  `json:"name"`
	CPU  float64 `json:"cpu_s_per_1000"`
	RSS  float64 `json:"rss"`
	PSS  float64 `json:"pss"`
}

// compare fills in the ratios and says which targets are met. A target is met
// only by rounds without an error.
func (r *rowResult) compare(spec row) {
	var mine *contenderResult
	for i := range r.Contenders {
		if r.Contenders[i].Kind == ours {
			mine = &r.Contenders[i]
			break
		}
	}
	if mine == nil {
		return
	}
	for i := range r.Contenders {
		c := &r.Contenders[i]
		if c.Kind != ours {
			ratios := stats.Ratios(mine.Rounds, c.Rounds)
			if spec.lessIsBetter {
				ratios = stats.Ratios(c.Rounds, mine.Rounds)
			}
			c.Ratio = stats.Median(ratios)
			if theirs := c.cpuPerOp(); theirs > 0 {
				c.CPURatio = mine.cpuPerOp() / theirs
			}
		}
		for _, t := range spec.targets {
			if t.against != c.Kind {
				continue
			}
			c.Target = t.String()
			if mine.Value == 0 || c.Value == 0 {
				continue // nothing to judge
			}
			met := c.Ratio >= t.atLeast
			if t.against == ours {
				met = mine.Value <= t.atMost
			}
			met = met && mine.Errors == 0
			c.Met = &met
		}
	}
}

// cpuPerOp is the CPU time of all processes for 1,000 operations, in seconds.
func (c *contenderResult) cpuPerOp() (sum float64) {
	for _, p := range c.Processes {
		sum += p.CPU
	}
	return sum
}
