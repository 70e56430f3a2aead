package rest

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/anybridge/anybridge/core"
)

// ratePolicy is what clients are told of a token's rate limit.
type ratePolicy struct {
	limits core.TokenLimits
	header []string // the value of RateLimit-Policy; never changed
}

// spend takes one request from the token's bucket and tells the client how many
// are left, in the fields of draft-ietf-httpapi-ratelimit-headers-10: of a bucket,
// q is its burst and w the time in which it fills; r is what is left and t the time
// until there is one more. The bucket outlives a change of the limits.
func (x *exchange) spend(gate *tokenGate, limits core.TokenLimits) error {
	p := pacing{pace: pace(limits.PerSecond), burst: int64(max(1, limits.Burst))}
	left, more, ok := gate.requests.take(x.f.clock(), p)
	h := x.w.Header()
	h["Ratelimit-Policy"] = gate.policyHeader(limits, p)
	var b [64]byte
	value := strconv.AppendInt(append(b[:0], `"default";r=`...), left, 10)
	value = append(append(value, ";t="...), retryAfterSeconds(more)...)
	h["Ratelimit"] = []string{string(value)}
	if ok {
		return nil
	}
	x.f.metrics.rateLimited.Add(1)
	rate := strconv.FormatFloat(math.Round(limits.PerSecond*1000)/1000, 'f', -1, 64)
	e := core.Errorf(core.TooMany, "token %q may make %s requests per second, %d at once", x.token.Name, rate, p.burst)
	e.RetryAfter = more
	return e
}

func pace(perSecond float64) time.Duration {
	return time.Duration(max(1, float64(time.Second)/perSecond))
}

// policyHeader is made once for all requests under the same limits.
func (g *tokenGate) policyHeader(limits core.TokenLimits, p pacing) []string {
	if known := g.policy.Load(); known != nil && known.limits == limits {
		return known.header
	}
	window := int64(math.Ceil((p.pace * time.Duration(p.burst)).Seconds() - 1e-6)) // a rounded pace is no second more
	header := []string{`"default";q=` + strconv.FormatInt(p.burst, 10) + ";w=" + strconv.FormatInt(max(1, window), 10)}
	g.policy.Store(&ratePolicy{limits: limits, header: header})
	return header
}

// reserve makes sure that the token's registrations and subscriptions stay within
// their limit when these come to them. It counts those of requests under way until
// release.
func (x *exchange) reserve(v core.Verb, patterns []core.Pattern) (release func(), err error) {
	most := x.token.Limits.Endpoints
	if most == 0 {
		return func() {}, nil
	}
	fresh := int64(x.f.o.Bridge.Lacks(x.token.Name, v, patterns))
	if fresh == 0 {
		return func() {}, nil
	}
	// The others' reservations are read before what they have become is counted:
	// none is missed in between.
	reserved := x.tokenGate.binding.Add(fresh)
	release = func() { x.tokenGate.binding.Add(-fresh) }
	if held := int64(x.f.o.Bridge.Held(x.token.Name)); held+reserved > int64(most) {
		release()
		return nil, core.Errorf(endpointLimit, "token %q holds %d registrations and subscriptions, and may hold %d: give some up, or raise endpoints (of the token, or under limits) in the bridge's configuration",
			x.token.Name, held, most)
	}
	return release, nil
}

// checkURL refuses a URL that is longer than allowed.
func (x *exchange) checkURL(r *http.Request) error {
	if most := x.f.limits.MaxURL; len(r.RequestURI) > most {
		return core.Errorf(uriTooLong, "the URL has more than %d bytes", most)
	}
	return nil
}
