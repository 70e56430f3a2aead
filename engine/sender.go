package engine

import (
	"context"
	"time"

	"github.com/anybridge/anybridge/core"
)

// Sender makes one attempt at a callback.
type Sender interface {
	// Send returns what came of the attempt. It never takes longer than the
	// endpoint's timeout, and ends early when ctx does.
	Send(ctx context.Context, a *Attempt) Outcome
}

// Attempt is one try at one delivery. Either Event and Subscription are set, or
// Result is.
type Attempt struct {
	ID       string // unique per event or result and endpoint, the same for all attempts
	Number   int    // 1 for the first
	Endpoint *core.Endpoint

	Event        *core.Event
	Subscription *core.Subscription
	Result       *AsyncResult
}

// AsyncResult is what came of an asynchronous call: Result, or Err.
type AsyncResult struct {
	CallID    string
	Procedure core.Address
	Result    *core.Result
	Err       *core.Error
}

// Outcome is what came of an attempt.
type Outcome struct {
	Done       bool          // the endpoint has it
	Gone       bool          // the endpoint wants no more (410)
	Ours       bool          // it failed on our side: the attempt does not count
	RetryAfter time.Duration // what the endpoint asked for, or 0
	Status     int           // the HTTP status, or 0 if there was no answer
	Err        error         // why it is neither Done nor Gone
	Answer     string        // the first bytes of a failed attempt's response
	Latency    time.Duration
}
