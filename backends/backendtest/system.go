package backendtest

import (
	"encoding/json"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
)

// System is a backend and the message system behind it. Only New or Command, and
// Config, are always needed.
type System struct {
	// New makes a backend as the plugin's main does. It runs in this process
	// ("direct") and, if TestMain calls Main, in one of its own ("plugin").
	New func(log *slog.Logger) core.Backend
	// Command is a plugin's program and its arguments, in place of New.
	Command []string
	// Env is its environment, as "KEY=value", beside PATH, HOME and TMPDIR.
	Env []string

	// Config makes a section of the configuration for one more backend on the same
	// system: with a user name or a client id of its own, if there is one. Nil is
	// no section.
	Config func(t testing.TB) json.RawMessage
	// BadConfigs are sections that Open must refuse, each with what its error must
	// say: the path of the wrong key.
	BadConfigs map[string]string
	// Secrets are texts in the configuration that must not show anywhere.
	Secrets []string

	// Kill kills the server as kill -9 does, and Start brings it back at the same
	// address and returns when it serves. Nil: there is none that can be killed.
	Kill, Start func(t testing.TB)

	// Topic and Procedure name the i-th topic and procedure that nobody else uses.
	// The default is "com.test.topic.i" and "com.test.procedure.i". Their order has
	// no meaning and there may be some hundred of them.
	Topic, Procedure func(i int) string
	// Pattern makes of such a name a pattern, some names that it matches, and one that
	// it does not match. The default is for names with dots.
	Pattern func(m core.Match, name string) (pattern string, matching []string, other string)
	// BadNames are names that the system does not have: all that is asked of them is
	// answered with InvalidArgument.
	BadNames []string

	// Answer is for a system in which there is nobody but the backend itself: what it
	// publishes to a topic comes back, from somebody else, on topic Answer(topic).
	// Publisher and subscriber are one backend then.
	Answer func(topic string) string

	// Payload is the i-th of many different payloads that cross the system unchanged,
	// for systems that carry text alone. Nil: every payload does.
	Payload func(i int) core.Payload
	// Exact says that payloads cross byte for byte, not only with the same meaning.
	Exact bool

	// Events is how many events a test may publish in a row; default 1000. Where a
	// system limits who floods it, it is small.
	Events int
	// Burst is how many events (of 4 KiB, without Payload) are published to a subscriber
	// that does not read;
	// default 4 times Events. Let it exceed the queues of BurstConfig.
	Burst int
	// BurstConfig is the Config for that, with small queues. Default: Config.
	BurstConfig func(t testing.TB) json.RawMessage

	// LosesSilently says that the system itself drops events under load and nobody
	// can tell. Nothing else excuses a missing event without a Gap or a counter.
	LosesSilently bool
	// NoRetained says that what is published with Retain reaches those who come later
	// and ask for it, but that the backend does not ask.
	NoRetained bool
	// NoCancel says that the system cannot tell a callee that the caller gave up.
	NoCancel bool
	// SharesProcedures says that the system cannot tell that somebody else has
	// registered a procedure already.
	SharesProcedures bool
	// PlainErrors says that an error of a procedure crosses the system as a text,
	// without URI and payload.
	PlainErrors bool

	// Patience is how long the suite waits for what must happen; default 30 s.
	Patience time.Duration
}

func (s System) withDefaults() System {
	if s.Config == nil {
		s.Config = func(testing.TB) json.RawMessage { return nil }
	}
	if s.BurstConfig == nil {
		s.BurstConfig = s.Config
	}
	if s.Topic == nil {
		s.Topic = func(i int) string { return "com.test.topic." + strconv.Itoa(i) }
	}
	if s.Procedure == nil {
		s.Procedure = func(i int) string { return "com.test.procedure." + strconv.Itoa(i) }
	}
	if s.Pattern == nil {
		s.Pattern = dotted
	}
	if s.Events == 0 {
		s.Events = 1000
	}
	if s.Burst == 0 {
		s.Burst = 4 * s.Events
	}
	if s.Patience == 0 {
		s.Patience = 30 * time.Second
	}
	return s
}

// dotted makes patterns of names whose components are split at dots.
func dotted(m core.Match, name string) (pattern string, matching []string, other string) {
	switch m {
	case core.Prefix:
		return name + ".p", []string{name + ".p", name + ".px", name + ".p.q"}, name + ".q"
	case core.Wildcard:
		return name + "..z", []string{name + ".x.z", name + ".y.z"}, name + ".x.w"
	}
	return name, []string{name}, name + ".x"
}
