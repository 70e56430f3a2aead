package engine

import (
	"context"
	"log/slog"
	"time"

	"github.com/anybridge/anybridge/core"
)

// Durability says what an acknowledgement is worth: of an event, of a subscription or
// registration and its removal, of an asynchronous call. It is that of the embedded
// store; of an external one, the server's settings decide. It can be changed from one
// start to the next.
type Durability string

// The durabilities.
const (
	// Process: what is acknowledged has been written, and survives the death of the
	// process. Files are synced every two minutes: losing power may lose what was
	// written since, and what a file held that was rewritten since. The store goes on
	// with what is left.
	Process Durability = "process"
	// Disk: what is acknowledged has been synced, and survives a loss of power, as
	// long as the disk has written what it says it has. How far endpoints have got is
	// not synced: they may get again what they got shortly before, under the same ID.
	//
	// The tests cut the power of a file system that keeps what was synced, and of all
	// else a random part (disk, in powerdisk_test.go, has the rules). They show that
	// the engine and its store sync what has to be; not that a given disk does.
	Disk Durability = "disk"
)

// Options are what an Engine needs. Zero fields mean the defaults.
type Options struct {
	Sender Sender // required
	// Call runs an asynchronous call. Required.
	Call func(ctx context.Context, c *core.Call) (*core.Result, error)
	// Gone is told of an endpoint that answered 410: it is to be unsubscribed.
	// Required.
	Gone func(ctx context.Context, s *core.Subscription)
	// Notify is told of trouble with endpoints. It must not block for long. Nil:
	// nobody is told.
	Notify func(t Trouble)
	Log    *slog.Logger // required

	// Dir is where the embedded store keeps its files; required without URL.
	Dir string
	// URL of a NATS server to use instead of the embedded one; Creds is its
	// credentials file, CA the authority of its certificate. Bridges with the same
	// URL and Name share what they hold.
	URL, Creds, CA string
	Name           string // begins the names of streams; "anybridge"
	Replicas       int    // of each stream, with URL; 3 in a cluster, else 1

	Durability Durability    // Process
	MaxBytes   int64         // stored; 10 GiB
	MaxWaiting int64         // bytes that wait for one endpoint; a tenth of MaxBytes
	KeepDead   time.Duration // how long dead letters are kept; 30 days
	MaxCalls   int           // asynchronous calls under way; 10,000
	MaxSending int           // attempts under way at once; 4,096
}

func (o *Options) setDefaults() {
	if o.Notify == nil {
		o.Notify = func(Trouble) {}
	}
	if o.Durability == "" {
		o.Durability = Process
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 10 << 30
	}
	if o.MaxWaiting == 0 {
		o.MaxWaiting = o.MaxBytes / 10
	}
	if o.MaxCalls == 0 {
		o.MaxCalls = 10_000
	}
	if o.MaxSending == 0 {
		o.MaxSending = 4096
	}
}

// Trouble is something that the operator or the app should know of an endpoint.
type Trouble struct {
	Kind         TroubleKind
	Owner        string // the token
	Subscription string // its ID; "" for the endpoint of an asynchronous call
	Pattern      core.Pattern
	URL          string // without its query
	Reason       string
	Delivery     string // the ID of the dead letter
	At           time.Time
}

// TroubleKind is also the last part of the topic that tells of it.
type TroubleKind string

// The kinds of trouble.
const (
	Failing    TroubleKind = "failing"     // the endpoint is parked
	Recovered  TroubleKind = "recovered"   // it answers again
	Disabled   TroubleKind = "disabled"    // nothing is sent to it any more until it is subscribed again
	DeadLetter TroubleKind = "dead_letter" // a delivery has used up its attempts
)

// TroubleTopic begins the topics that trouble is published to. Trouble with
// delivering these events is not published: it would feed itself.
const TroubleTopic = "anybridge.endpoint."
