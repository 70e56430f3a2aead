package rest

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/core"
)

// admission bounds the requests under way: of everybody, and of each token, so
// that one app whose calls all wait does not keep the others out.
type admission struct {
	maxAll, maxToken int64
	all              atomic.Int64
	tokens           sync.Map // token name → *tokenGate; tokens come from the configuration
}

// tokenGate is what the frontend keeps of a token, however often it is configured
// anew.
type tokenGate struct {
	now      atomic.Int64 // requests under way
	requests bucket
	policy   atomic.Pointer[ratePolicy]
	binding  atomic.Int64 // endpoints of requests under way: see reserve
	refused  atomic.Int64 // since the last line about it in the audit log
	told     bucket       // these lines
}

func newAdmission(all, perToken int) *admission {
	return &admission{maxAll: int64(all), maxToken: int64(perToken)}
}

// gate returns the gate of an authenticated token.
func (a *admission) gate(token string) *tokenGate {
	v, ok := a.tokens.Load(token)
	if !ok {
		v, _ = a.tokens.LoadOrStore(token, new(tokenGate))
	}
	return v.(*tokenGate) //nolint:forcetypeassert // the map holds nothing else
}

// enter counts one request of an authenticated token, until leave. Who presents no
// valid token takes no place.
func (a *admission) enter(gate *tokenGate) error {
	if a.all.Add(1) > a.maxAll {
		a.all.Add(-1)
		return tooMany("%d requests are under way", a.maxAll)
	}
	if gate.now.Add(1) > a.maxToken {
		gate.now.Add(-1)
		a.all.Add(-1)
		return tooMany("%d requests of this token are under way", a.maxToken)
	}
	return nil
}

func (a *admission) leave(gate *tokenGate) {
	gate.now.Add(-1)
	a.all.Add(-1)
}

func tooMany(format string, args ...any) error {
	e := core.Errorf(core.TooMany, format, args...)
	e.RetryAfter = time.Second
	return e
}
