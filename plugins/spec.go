package plugins

import (
	"encoding/json"
	"time"

	"github.com/anybridge/anybridge/core"
)

// Spec says which plugin to run and how.
type Spec struct {
	// Name is the backend's name in the configuration ("wamp", "redis" …).
	Name string

	// Command is the executable and its arguments. An executable without a slash is
	// looked up in PATH. A built-in backend runs by self-exec: os.Executable(),
	// "backend" and its kind.
	Command []string

	// SHA256 is the executable's checksum in hex; empty means that it is not
	// checked. It is checked at every start, and protects only if nobody but the
	// operator can write to the executable's directory.
	SHA256 string

	// Env is the child's environment, as "KEY=value". The child inherits nothing
	// but PATH, HOME and TMPDIR, which Env may override; beside these it gets what
	// the handshake needs (ANYBRIDGE_*, PLUGIN_*).
	Env []string

	// Config is handed to Backend.Open.
	Config json.RawMessage

	Limits Limits
}

// Limits bound what a plugin may use and how long things may take. For each a
// value of zero means the default.
type Limits struct {
	// MaxInFlight is how many calls, publishes and invocations (each) may wait for
	// their answer at once; more are refused with TooMany. Default 16384.
	MaxInFlight int
	// MaxMessage is the size in bytes of the largest event, call, result or
	// invocation, with its name and details; larger ones are refused with TooLarge.
	// Default 16 MiB, at most 32 MiB.
	MaxMessage int
	// Window is how many bytes of events a subscription may have waiting in the
	// host before its source has to wait. An event counts as 128 bytes and its
	// content. The same holds for the invocations of a registration. Default 4 MiB.
	Window int

	// StartTimeout bounds a start: from running the executable to the answer of
	// Backend.Open. Default 30 s.
	StartTimeout time.Duration
	// StopTimeout bounds a stop for which nobody set a deadline. Default 10 s.
	StopTimeout time.Duration

	// A dead process is started again at once; if it dies again before StableAfter
	// has passed, after BackoffMin, then after twice that, and so on to BackoffMax,
	// each with up to 50 % off at random. Defaults: 10 s, 100 ms, 5 s.
	StableAfter time.Duration
	BackoffMin  time.Duration
	BackoffMax  time.Duration

	// A process that has not answered a health check for PingTimeout is taken for
	// hung and killed. It is asked every PingEvery; less than zero means never.
	// Defaults: 15 s, 5 s.
	PingTimeout time.Duration
	PingEvery   time.Duration
}

const (
	mib = 1 << 20

	// maxGRPCMessage is gRPC's own limit, set on both sides: above the largest
	// batch, which is one entry of maxMaxMessage on top of batchBytes.
	maxGRPCMessage = 64 * mib
	maxMaxMessage  = 32 * mib
)

func (l Limits) withDefaults() Limits {
	set(&l.MaxInFlight, 16384)
	set(&l.MaxMessage, 16*mib)
	set(&l.Window, 4*mib)
	set(&l.StartTimeout, 30*time.Second)
	set(&l.StopTimeout, 10*time.Second)
	set(&l.StableAfter, 10*time.Second)
	set(&l.BackoffMin, 100*time.Millisecond)
	set(&l.BackoffMax, 5*time.Second)
	set(&l.PingTimeout, 15*time.Second)
	set(&l.PingEvery, 5*time.Second)
	return l
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (s Spec) validate() error {
	switch {
	case !core.ValidBackendName(s.Name):
		return core.Errorf(core.InvalidArgument, "backend name %q: want 1 to 64 characters of a-z, 0-9, _ and -, beginning with a letter", s.Name)
	case len(s.Command) == 0 || s.Command[0] == "":
		return core.Errorf(core.InvalidArgument, "backend %q: no command to run", s.Name)
	case s.Limits.MaxMessage > maxMaxMessage:
		return core.Errorf(core.InvalidArgument, "backend %q: MaxMessage of %d bytes: at most %d are allowed", s.Name, s.Limits.MaxMessage, maxMaxMessage)
	case s.Limits.MaxInFlight < 0 || s.Limits.MaxMessage < 0 || s.Limits.Window < 0:
		return core.Errorf(core.InvalidArgument, "backend %q: a limit is negative", s.Name)
	}
	return nil
}
