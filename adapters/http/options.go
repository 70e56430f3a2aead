package rest

import (
	"context"
	"log/slog"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// Work is what the frontend asks of the engine.
type Work interface {
	// StartCall runs the call and owes what comes of it to an endpoint, under the
	// returned id. It returns TooMany when too much is under way already.
	StartCall(ctx context.Context, c engine.AsyncCall) (id string, err error)
	// Health tells how a subscription's endpoint is doing.
	Health(s *core.Subscription) engine.Health
	// Claim begins the work on a request with an idempotency key, or returns what
	// it was answered with before.
	Claim(ctx context.Context, owner, key, prefix string, fingerprint []byte) (*engine.Claim, *engine.Answer, error)

	// Deliveries, Delivery, Replay, ReplayAll and Discard look after what is owed;
	// an empty owner stands for all of them.
	Deliveries(ctx context.Context, f engine.Filter) (list []engine.Delivery, next string, err error)
	Delivery(ctx context.Context, owner, id string) (*engine.Delivery, error)
	Replay(ctx context.Context, owner, id string) error
	ReplayAll(ctx context.Context, f engine.Filter) (int, error)
	Discard(ctx context.Context, owner, id string) error

	Status(ctx context.Context) engine.Status
	// Counters are cumulative, but for those that end in "_now".
	Counters() map[string]int64
}

var _ Work = (*engine.Engine)(nil)

// Options are what a Frontend needs. The functions may be called concurrently.
type Options struct {
	Bridge    *core.Bridge        // required
	Work      Work                // required
	Callbacks *Callbacks          // required: checks callback URLs
	Tokens    func() *core.Tokens // required: the current set
	Log       *slog.Logger        // required

	// Reload applies a changed configuration. The error of a bad one is
	// InvalidArgument with all its mistakes. Nil: there is nothing to reload.
	Reload func(ctx context.Context) error
	// Ready returns why the bridge is not ready to serve, or nil. Nil: it always is.
	Ready func() error
	// Processes tells of the processes behind the backends, by backend. Nil: there
	// are none.
	Processes func() map[string]Process
	// Routes tells of the routes to each of their targets. Nil: there are none.
	Routes func() []Route

	// Audit writes to the audit log. It returns when the entries are written. Nil:
	// there is none.
	Audit func(entries ...AuditEntry)

	Limits  Limits
	Version string
}

// Process is a plugin process as its supervisor knows it.
type Process struct {
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	Restarts int64     `json:"restarts"`
}

// Route is how a route to one target is doing. The counters are cumulative since the
// bridge's start.
type Route struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // "durable", "memory" or "procedure"
	From string `json:"from"`
	To   string `json:"to"`

	Carried  int64 `json:"carried"`  // events, or calls
	Filtered int64 `json:"filtered"` // "when" was false
	Dropped  int64 `json:"dropped"`  // too many waited
	Refused  int64 `json:"refused"`  // the target did not take it; of calls: ended with an error
	Failed   int64 `json:"failed"`   // an expression failed
	Braked   int64 `json:"braked"`   // it went round
	Waiting  int   `json:"waiting"`  // in memory; of procedures: calls under way

	LastError string     `json:"last_error,omitempty"`
	LastAt    *time.Time `json:"last_error_at,omitempty"`
}

// Limits bound what clients can ask for. Zero fields mean the defaults.
type Limits struct {
	MaxBody      int64         // bytes of a request's body; 1 MiB
	MaxHeader    int           // bytes of a request's header; 16 KiB
	MaxURL       int           // bytes of a request's path and query; 8 KiB
	MaxEndpoints int           // in one request; 1,000
	MaxDepth     int           // lists and objects inside each other; 512
	Timeout      time.Duration // of a call that names none; 30 s
	MaxTimeout   time.Duration // that a call can name; 10 min

	// AsyncTimeout and MaxAsyncTimeout are the same for calls with a callback;
	// 10 min and 1 h.
	AsyncTimeout    time.Duration
	MaxAsyncTimeout time.Duration

	MaxRequests         int // under way at once, of all tokens; 8,192
	MaxRequestsPerToken int // under way at once, of one token; half of MaxRequests

	HeaderTimeout time.Duration // for a request's header to arrive; 10 s
	ReadTimeout   time.Duration // for a request to arrive whole; 30 s
	WriteTimeout  time.Duration // for the client to take the answer; 30 s
	IdleTimeout   time.Duration // of a connection between two requests; 2 min

	MaxConnections           int // in all; 16,384
	MaxConnectionsPerAddress int // from one address, or IPv6 /64; a quarter of MaxConnections

	MaxGuesses int           // wrong tokens from one address at once; 30
	GuessPause time.Duration // until it can be one more; 1 s
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.MaxBody, 1<<20)
	setDefault(&l.MaxHeader, 16<<10)
	setDefault(&l.MaxEndpoints, 1000)
	setDefault(&l.MaxDepth, 512)
	setDefault(&l.Timeout, 30*time.Second)
	setDefault(&l.MaxTimeout, 10*time.Minute)
	setDefault(&l.AsyncTimeout, 10*time.Minute)
	setDefault(&l.MaxAsyncTimeout, time.Hour)
	setDefault(&l.MaxRequests, 8192)
	setDefault(&l.MaxRequestsPerToken, max(1, l.MaxRequests/2))
	setDefault(&l.MaxURL, 8<<10)
	setDefault(&l.ReadTimeout, 30*time.Second)
	setDefault(&l.HeaderTimeout, min(10*time.Second, l.ReadTimeout))
	setDefault(&l.WriteTimeout, 30*time.Second)
	setDefault(&l.IdleTimeout, 2*time.Minute)
	setDefault(&l.MaxConnections, 16384)
	setDefault(&l.MaxConnectionsPerAddress, max(1, l.MaxConnections/4))
	setDefault(&l.MaxGuesses, 30)
	setDefault(&l.GuessPause, time.Second)
	return l
}

func setDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}
