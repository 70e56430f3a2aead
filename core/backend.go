package core

import (
	"context"
	"encoding/json"
	"slices"
)

// Backend is one connection to one message system. All methods may be called
// concurrently, except that Open comes before and Close after everything else.
// Errors are *Error (or a context's own), made by the backend with the code that
// tells the asker what to do.
//
// A backend keeps its subscriptions and registrations across reconnects of its
// own: a Stream ends only when it is closed or when the backend is. It does not
// retry a publish or a call: Unavailable is the answer while the system is away.
type Backend interface {
	// Open reads the backend's section of the configuration and starts. A mistake
	// in the configuration is an error that names the key; a system that is not
	// reachable yet is not an error: the backend keeps trying.
	//
	// Open on an open backend applies a changed configuration. What did not change
	// stays connected. If the change cannot be applied in place it returns
	// Unimplemented and changes nothing; the host then opens a fresh backend.
	Open(ctx context.Context, config json.RawMessage) (Info, error)

	// Publish returns when the system has accepted the event. It sets e.ID to the id
	// under which the system's subscribers see the event, where it has such a thing,
	// and e.Withheld when e.Options keep the event from the bridge itself.
	//
	// The event does not come back on the backend's own subscriptions: the bridge
	// delivers what it publishes to its endpoints itself.
	Publish(ctx context.Context, e *Event) error

	// Subscribe returns when the system has accepted the subscription. The host
	// subscribes to each pattern at most once at a time.
	Subscribe(ctx context.Context, p Pattern) (Stream[*Event], error)

	// Call returns the result, or an error: Application with URI and payload when
	// the procedure raised one, NoSuchProcedure, Timeout, Unavailable … When ctx
	// ends, the call is cancelled on the system too.
	Call(ctx context.Context, c *Call) (*Result, error)

	// Register returns when the system has accepted the registration; AlreadyExists
	// when somebody else has the procedure.
	Register(ctx context.Context, p Pattern, o RegisterOptions) (Stream[*Invocation], error)

	// Status tells how the backend is. It answers at once, from memory.
	Status(ctx context.Context) (Status, error)

	// Close ends every stream, answers what is in flight where that can be done
	// before ctx ends, and releases everything.
	Close(ctx context.Context) error
}

// BatchPublisher is what a Backend can be beside: one that publishes several events in
// hardly more time than one. It is given those that have to stay in order, and also those
// of separate publishers that happen to come at the same moment.
type BatchPublisher interface {
	// PublishBatch publishes the events one after the other, as Publish would, and
	// returns an error or nil for each. An event that fails does not keep the later ones
	// back.
	PublishBatch(ctx context.Context, events []*Event) []error
}

// PublishBatch publishes the events in their order: at once if the backend can do that,
// else one by one.
func PublishBatch(ctx context.Context, b Backend, events []*Event) []error {
	if batch, ok := b.(BatchPublisher); ok && len(events) > 1 {
		return batch.PublishBatch(ctx, events)
	}
	errs := make([]error, len(events))
	for i, e := range events {
		errs[i] = b.Publish(ctx, e)
	}
	return errs
}

// Stream hands out what arrives, in order and in batches.
type Stream[T any] interface {
	// Next waits for at least one value and returns all that are ready, up to a
	// bound of the stream's own. The slice belongs to the caller until the next
	// call of Next. After the end it returns io.EOF, or the error that ended it.
	// Only one goroutine calls Next.
	Next(ctx context.Context) ([]T, error)
	// Close unsubscribes or unregisters. Values that were not taken are dropped;
	// invocations among them are answered with Unavailable.
	Close() error
}

// Confirmer is what a Stream of events can be beside: one whose system keeps an event
// until it is told that somebody has taken charge of it.
type Confirmer interface {
	// Confirm says that the first n of the values that Next has handed out and that were
	// not confirmed before are safe: they will not be asked for again. It does not block
	// on the network, and may be called while Next waits.
	Confirm(n int)
}

// RegisterOptions say how a procedure is shared.
type RegisterOptions struct {
	// Invoke is WAMP's invocation policy: "single" (also when empty), "first",
	// "last", "roundrobin" or "random".
	Invoke string
}

// Info is what a backend says of itself when it is opened.
type Info struct {
	Kind string       `json:"kind"` // "wamp", "redis" …
	Can  Capabilities `json:"can"`
	// Listen holds the addresses the backend itself listens on, as URLs people can
	// use, e.g. "ws://127.0.0.1:8080/ws".
	Listen []string `json:"listen,omitempty"`
}

// Capabilities say what a backend can do; asking for anything else is answered
// with Unimplemented before it is tried.
type Capabilities struct {
	Publish   bool    `json:"publish"`
	Subscribe []Match `json:"subscribe,omitempty"` // match policies of Subscribe; none: cannot
	Call      bool    `json:"call"`
	Register  []Match `json:"register,omitempty"` // match policies of Register; none: cannot
	// Invoke are the invocation policies that several registrations of one
	// procedure may share.
	Invoke []string `json:"invoke,omitempty"`
	Retain bool     `json:"retain"` // PublishOptions.Retain is honoured
}

// CanSubscribe reports whether Subscribe accepts the policy.
func (c Capabilities) CanSubscribe(m Match) bool { return slices.Contains(c.Subscribe, m) }

// CanRegister reports whether Register accepts the policy.
func (c Capabilities) CanRegister(m Match) bool { return slices.Contains(c.Register, m) }

// State is a backend's health in one word.
type State string

// The states.
const (
	Up         State = "up"         // connected, or serving
	Connecting State = "connecting" // trying to reach the system
	Down       State = "down"       // not working; see Status.Reason
)

// Status is a backend's health.
type Status struct {
	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"` // why it is not Up, for people
	// Counters are cumulative since the backend's process started, named in snake
	// case, e.g. "slow_subscribers_disconnected". Gauges end in "_now".
	Counters map[string]int64 `json:"counters,omitempty"`
}
