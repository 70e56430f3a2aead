package rest

import (
	"context"
	"strconv"
	"time"

	"github.com/anybridge/anybridge/engine"
)

// EngineStatus is how the engine is doing, in the answer of GET /status/.
type EngineStatus struct {
	Store       string            `json:"store"`     // "embedded", or the servers
	Connected   bool              `json:"connected"` // to it
	Durability  engine.Durability `json:"durability"`
	Bytes       int64             `json:"bytes"` // stored
	MaxBytes    int64             `json:"max_bytes"`
	DeadLetters int64             `json:"dead_letters"`
	Parked      int               `json:"parked"`   // endpoints, on the lanes of this bridge
	Disabled    int               `json:"disabled"` // endpoints that nothing is sent to any more
	Lanes       []LaneView        `json:"lanes"`
	Counters    map[string]int64  `json:"counters"` // those in "_now" are what is there at present
}

// LaneView is one lane: a part of what is owed, with one bridge that delivers it.
type LaneView struct {
	Lane      int       `json:"lane"`
	Mine      bool      `json:"mine"`            // this bridge delivers from it
	Owner     string    `json:"owner,omitempty"` // the bridge that does
	Pending   int64     `json:"pending"`         // deliveries
	Running   int64     `json:"running"`         // attempts
	Endpoints int64     `json:"endpoints"`
	Oldest    time.Time `json:"oldest,omitzero"` // when the oldest pending delivery became owed
}

// askEngine gives the engine as long as a backend to say how it is.
func (f *Frontend) askEngine(ctx context.Context) engine.Status {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	return f.o.Work.Status(ctx)
}

func (f *Frontend) engineStatus(ctx context.Context) EngineStatus {
	s := f.askEngine(ctx)
	v := EngineStatus{
		Store: s.Store, Connected: s.Connected, Durability: s.Durability, Bytes: s.Bytes, MaxBytes: s.MaxBytes,
		DeadLetters: s.DeadLetters, Parked: s.Parked, Disabled: s.Disabled, Lanes: make([]LaneView, len(s.Lanes)), Counters: f.o.Work.Counters(),
	}
	for i, l := range s.Lanes {
		l.Oldest = l.Oldest.UTC()
		v.Lanes[i] = LaneView(l)
	}
	return v
}

// counted is what is said of one of the engine's counters.
type counted struct{ counter, name, help, outcome string }

// engineCounters are the engine's counters by the names of their metrics.
func engineCounters() []counted {
	const attempts, help = "attempts_total", "Attempts at deliveries by what came of them: delivered, failed, ours (it failed on the bridge's side and does not count) or gone (410)."
	return []counted{
		{"accepted", "accepted_total", "Deliveries that were stored.", ""},
		{"delivered", attempts, help, "delivered"},
		{"attempts_failed", attempts, help, "failed"},
		{"attempts_ours", attempts, help, "ours"},
		{"endpoints_gone", attempts, help, "gone"},
		{"retries", "retries_total", "Failed attempts after which there is another.", ""},
		{"dead_letters", "dead_letters_total", "Deliveries that have used up their attempts.", ""},
		{"replayed", "replayed_total", "Dead letters that were sent again.", ""},
		{"dropped", "dropped_total", "Deliveries given up since their endpoint was unsubscribed or disabled.", ""},
		{"repeated", "repeated_total", "Events that came twice from a backend and were left out.", ""},
		{"notices_dropped", "notices_dropped_total", "Events about trouble with endpoints that were not published since there were too many.", ""},
		{"spilled", "spilled_total", "Deliveries that were moved to their endpoint's own queue on the disk.", ""},
	}
}

// engineGauges are those of the engine's counters that go up and down. What it has
// of each lane is told by lane.
func engineGauges() []counted {
	return []counted{
		{"async_calls_now", "async_calls_now", "Asynchronous calls under way.", ""},
		{"endpoints_parked_now", "endpoints_parked_now", "Endpoints that fail: only probes are sent.", ""},
		{"endpoints_disabled_now", "endpoints_disabled_now", "Endpoints that nothing is sent to until they are subscribed again.", ""},
	}
}

// collectEngine tells of the engine. counter and gauge make one value.
func (f *Frontend) collectEngine(ctx context.Context, counter, gauge func(name, help string, v int64, labels ...string)) {
	s := f.askEngine(ctx)
	counters := f.o.Work.Counters()
	for _, c := range engineCounters() {
		if c.outcome != "" {
			counter("engine_"+c.name, c.help, counters[c.counter], "outcome", c.outcome)
		} else {
			counter("engine_"+c.name, c.help, counters[c.counter])
		}
	}
	for _, g := range engineGauges() {
		gauge("engine_"+g.name, g.help, counters[g.counter])
	}
	connected := int64(0)
	if s.Connected {
		connected = 1
	}
	gauge("engine_connected", "Whether the engine's store can be reached.", connected)
	gauge("engine_stored_bytes", "Bytes in the engine's store.", s.Bytes)
	gauge("engine_stored_bytes_max", "Bytes that may be in the engine's store.", s.MaxBytes)
	gauge("engine_dead_letters_now", "Dead letters that are kept.", s.DeadLetters)
	now := time.Now()
	for _, l := range s.Lanes {
		if !l.Mine {
			continue // the bridge whose it is tells
		}
		lane := strconv.Itoa(l.Lane)
		age := int64(0)
		if !l.Oldest.IsZero() {
			age = max(0, int64(now.Sub(l.Oldest).Seconds()))
		}
		gauge("engine_pending_now", "Deliveries that are owed.", l.Pending, "lane", lane)
		gauge("engine_attempts_now", "Attempts under way.", l.Running, "lane", lane)
		gauge("engine_endpoints_now", "Endpoints that something is known of.", l.Endpoints, "lane", lane)
		gauge("engine_oldest_seconds", "Age of the oldest delivery that is owed; 0 if there is none.", age, "lane", lane)
	}
}
