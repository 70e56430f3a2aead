package engine

import (
	"time"

	"github.com/anybridge/anybridge/core"
)

// State is where a delivery stands.
type State string

// The states that can be listed. What is delivered is not kept.
const (
	Waiting  State = "waiting"  // for its turn, on the disk
	Retrying State = "retrying" // an attempt failed; there will be another
	Failed   State = "failed"   // a dead letter
)

// Delivery is one event, or the outcome of one asynchronous call, that is owed to
// an endpoint.
type Delivery struct {
	ID           string
	Owner        string // the token
	Subscription string // its ID; "" for an outcome
	State        State
	Address      core.Address // the topic, or the procedure
	Created      time.Time
	Next         time.Time // when the next attempt is due; zero: when its turn comes
	Attempts     int
	Tries        []Try  // of the attempts, the first one and the last ones
	Reason       string // why it has failed
	Died         time.Time
	Payload      core.Payload
}

// Try is one failed attempt.
type Try struct {
	At      time.Time
	Status  int // of HTTP, or 0
	Latency time.Duration
	Error   string
	Answer  string // the first bytes of the response's body
}

// Filter says which deliveries are meant. Empty fields mean all.
type Filter struct {
	Owner        string
	Subscription string // ID
	Topic        core.Address
	State        State // required
	// Limit bounds how many are returned; 100. After is where a former list ended.
	Limit int
	After string
}

// Health is how an endpoint is doing, as the bridge knows it that delivers to it.
type Health struct {
	Delivered   int64
	Failed      int64 // attempts
	Pending     int64
	LastStatus  int
	LastError   string
	LastAttempt time.Time
	Parked      bool      // attempts fail: only probes are sent
	NextProbe   time.Time // of a parked endpoint
	Disabled    string    // why nothing is sent any more, or ""
}

// Status is how the engine is doing.
type Status struct {
	Store       string // "embedded", or the servers
	Connected   bool   // to the store
	Durability  Durability
	Bytes       int64 // stored
	MaxBytes    int64
	DeadLetters int64
	Lanes       []LaneStatus
	Parked      int // endpoints, on the lanes of this bridge
	Disabled    int
}

// LaneStatus is how one lane is doing.
type LaneStatus struct {
	Lane      int
	Mine      bool   // this bridge delivers from it
	Owner     string // the bridge that does, or ""
	Pending   int64  // deliveries owed by it, also those on the disk
	Running   int64  // attempts
	Endpoints int64
	Oldest    time.Time // when the oldest pending delivery became owed; zero: none
}
