package plugins

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/internal/pb"
)

// The functions called set… fill in a message that has been reset.

// entryOverhead is what an entry of a batch counts beside its content.
const entryOverhead = 128

func payload(args, kwargs []byte) core.Payload {
	return core.Payload{Args: raw(args), Kwargs: raw(kwargs)}
}

func raw(b []byte) json.RawMessage {
	if len(b) == 0 {
		return nil
	}
	return b
}

// text makes a string fit for the wire: proto3 refuses a whole batch because of
// one string that is not UTF-8.
func text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func texts(list []string) []string {
	for _, s := range list {
		if !utf8.ValidString(s) {
			valid := make([]string, len(list))
			for i, s := range list {
				valid[i] = text(s)
			}
			return valid
		}
	}
	return list
}

// eventSize is what an event takes off its feed's credit. Both sides must come to
// the same number, hence text.
func eventSize(e *core.Event) int {
	n := entryOverhead + len(text(e.Topic.Name)) + e.Size() + len(e.Details) + len(text(e.Via))
	if e.Gap != nil {
		n += len(text(e.Gap.Reason))
	}
	return n
}

func setEvent(m *pb.Event, id uint64, e *core.Event) {
	m.Id = id
	m.Topic = text(e.Topic.Name)
	m.Args, m.Kwargs, m.Details = e.Args, e.Kwargs, e.Details
	m.EventId = text(e.ID)
	m.TimeNanos = nanos(e.Time)
	m.Options = optionsToPB(e.Options)
	m.Via = text(e.Via)
	m.Gap = gapToPB(e.Gap)
}

func gapToPB(g *core.Gap) *pb.Gap {
	if g == nil {
		return nil
	}
	return &pb.Gap{SinceNanos: nanos(g.Since), UntilNanos: nanos(g.Until), Lost: g.Lost, Reason: text(g.Reason)}
}

func gapFromPB(m *pb.Gap) *core.Gap {
	if m == nil {
		return nil
	}
	return &core.Gap{Since: fromNanos(m.GetSinceNanos()), Until: fromNanos(m.GetUntilNanos()), Lost: m.GetLost(), Reason: m.GetReason()}
}

func eventFromPB(m *pb.Event, backend string) *core.Event {
	return &core.Event{
		ID:      m.GetEventId(),
		Topic:   core.Address{Backend: backend, Name: m.GetTopic()},
		Payload: payload(m.GetArgs(), m.GetKwargs()),
		Time:    fromNanos(m.GetTimeNanos()),
		Details: raw(m.GetDetails()),
		Options: optionsFromPB(m.GetOptions()),
		Via:     m.GetVia(),
		Gap:     gapFromPB(m.GetGap()),
	}
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func optionsToPB(o core.PublishOptions) *pb.PublishOptions {
	if o.Zero() {
		return nil
	}
	m := &pb.PublishOptions{
		Retain:           o.Retain,
		Exclude:          o.Exclude,
		ExcludeAuthid:    texts(o.ExcludeAuthID),
		ExcludeAuthrole:  texts(o.ExcludeAuthRole),
		Eligible:         o.Eligible,
		EligibleAuthid:   texts(o.EligibleAuthID),
		EligibleAuthrole: texts(o.EligibleAuthRole),
	}
	empty(m, "exclude", o.Exclude)
	empty(m, "exclude_authid", o.ExcludeAuthID)
	empty(m, "exclude_authrole", o.ExcludeAuthRole)
	empty(m, "eligible", o.Eligible)
	empty(m, "eligible_authid", o.EligibleAuthID)
	empty(m, "eligible_authrole", o.EligibleAuthRole)
	return m
}

// empty notes that a list is there though it has nothing in it, which proto3
// cannot tell by itself.
func empty[T any](m *pb.PublishOptions, name string, list []T) {
	if list != nil && len(list) == 0 {
		m.Empty = append(m.Empty, name)
	}
}

func optionsFromPB(m *pb.PublishOptions) core.PublishOptions {
	if m == nil {
		return core.PublishOptions{}
	}
	o := core.PublishOptions{
		Retain:           m.GetRetain(),
		Exclude:          m.GetExclude(),
		ExcludeAuthID:    m.GetExcludeAuthid(),
		ExcludeAuthRole:  m.GetExcludeAuthrole(),
		Eligible:         m.GetEligible(),
		EligibleAuthID:   m.GetEligibleAuthid(),
		EligibleAuthRole: m.GetEligibleAuthrole(),
	}
	for _, name := range m.GetEmpty() {
		switch name {
		case "exclude":
			o.Exclude = []uint64{}
		case "exclude_authid":
			o.ExcludeAuthID = []string{}
		case "exclude_authrole":
			o.ExcludeAuthRole = []string{}
		case "eligible":
			o.Eligible = []uint64{}
		case "eligible_authid":
			o.EligibleAuthID = []string{}
		case "eligible_authrole":
			o.EligibleAuthRole = []string{}
		}
	}
	return o
}

func callSize(c *core.Call) int {
	return entryOverhead + len(c.Procedure.Name) + c.Size() + len(c.Caller.Token) + len(c.Caller.User)
}

func setCall(m *pb.Call, id uint64, c *core.Call, timeout time.Duration) {
	m.Id = id
	m.Procedure = text(c.Procedure.Name)
	m.Args, m.Kwargs = c.Args, c.Kwargs
	m.CallerToken, m.CallerUser = text(c.Caller.Token), text(c.Caller.User)
	m.TimeoutNanos = int64(timeout)
}

func callFromPB(m *pb.Call, backend string) *core.Call {
	return &core.Call{
		Procedure: core.Address{Backend: backend, Name: m.GetProcedure()},
		Payload:   payload(m.GetArgs(), m.GetKwargs()),
		Caller:    core.Caller{Token: m.GetCallerToken(), User: m.GetCallerUser()},
	}
}

// answer is the end of a call or an invocation: a result, or an error.
type answer struct {
	id     uint64
	result *core.Result
	err    error
}

func (a answer) size() int {
	n := entryOverhead + errorSize(a.err)
	if a.result != nil {
		n += a.result.Size() + len(a.result.Details)
	}
	return n
}

// capped is the answer itself, or TooLarge in its place.
func (a answer) capped(limit int) answer {
	if n := a.size(); n > limit {
		return answer{id: a.id, err: core.Errorf(core.TooLarge, "the result has %d bytes: at most %d are allowed", n, limit)}
	}
	return a
}

func setAnswer(m *pb.CallReply, a answer) {
	m.Id = a.id
	m.Error = errorToPB(a.err)
	if a.err == nil && a.result != nil {
		m.Args, m.Kwargs, m.Details = a.result.Args, a.result.Kwargs, a.result.Details
	}
}

func resultFromPB(m *pb.CallReply) (*core.Result, error) {
	if err := errorFromPB(m.GetError()); err != nil {
		return nil, err
	}
	return &core.Result{Payload: payload(m.GetArgs(), m.GetKwargs()), Details: raw(m.GetDetails())}, nil
}

// invocationSize is to invocations what eventSize is to events.
func invocationSize(inv *core.Invocation) int {
	return entryOverhead + len(text(inv.Procedure.Name)) + inv.Size() + len(inv.Details)
}

func setInvocation(m *pb.Invocation, id, feed uint64, inv *core.Invocation) {
	m.Id, m.Feed = id, feed
	m.Procedure = text(inv.Procedure.Name)
	m.Args, m.Kwargs, m.Details = inv.Args, inv.Kwargs, inv.Details
	m.TimeoutNanos = int64(inv.Timeout)
	m.InvocationId = text(inv.ID)
}

func invocationFromPB(m *pb.Invocation, backend string) *core.Invocation {
	return &core.Invocation{
		ID:        m.GetInvocationId(),
		Procedure: core.Address{Backend: backend, Name: m.GetProcedure()},
		Payload:   payload(m.GetArgs(), m.GetKwargs()),
		Details:   raw(m.GetDetails()),
		Timeout:   time.Duration(m.GetTimeoutNanos()),
	}
}

func infoToPB(info core.Info) *pb.OpenResponse {
	return &pb.OpenResponse{
		Kind:   text(info.Kind),
		Listen: texts(info.Listen),
		Can: &pb.Capabilities{
			Publish:   info.Can.Publish,
			Subscribe: convertAll[string](info.Can.Subscribe),
			Call:      info.Can.Call,
			Register:  convertAll[string](info.Can.Register),
			Invoke:    info.Can.Invoke,
			Retain:    info.Can.Retain,
		},
	}
}

func infoFromPB(m *pb.OpenResponse) core.Info {
	can := m.GetCan()
	return core.Info{
		Kind:   m.GetKind(),
		Listen: m.GetListen(),
		Can: core.Capabilities{
			Publish:   can.GetPublish(),
			Subscribe: convertAll[core.Match](can.GetSubscribe()),
			Call:      can.GetCall(),
			Register:  convertAll[core.Match](can.GetRegister()),
			Invoke:    can.GetInvoke(),
			Retain:    can.GetRetain(),
		},
	}
}

func convertAll[To, From ~string](from []From) []To {
	if from == nil {
		return nil
	}
	to := make([]To, len(from))
	for i, s := range from {
		to[i] = To(s)
	}
	return to
}
