package rest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"log/slog"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// The header fields of idempotent requests, after
// draft-ietf-httpapi-idempotency-key-header; a key is what the field's value is, to
// the byte.
const (
	keyHeader      = "Idempotency-Key"
	replayedHeader = "Idempotent-Replayed"
)

// idempotencyKey is the request's key, or "" if it has none.
func (x *exchange) idempotencyKey() (string, error) {
	values := x.r.Header[keyHeader]
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", core.Errorf(core.InvalidArgument, "more than one %s header", keyHeader)
	}
	key := values[0]
	if key == "" || len(key) > engine.MaxKey {
		return "", core.Errorf(core.InvalidArgument, "%s: want 1 to %d characters", keyHeader, engine.MaxKey)
	}
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' {
			return "", core.Errorf(core.InvalidArgument, "%s: want visible ASCII characters, without spaces", keyHeader)
		}
	}
	return key, nil
}

// fingerprint tells requests with the same key apart: by what is asked for and by
// the bytes of the body. The token does not count, so that it can be replaced in
// between.
func (x *exchange) fingerprint(to core.Address, body []byte, token string) []byte {
	if token != "" {
		body = bytes.ReplaceAll(body, []byte(token), nil)
	}
	h := sha256.New()
	for _, part := range []string{x.r.Method, x.route.pattern, to.String()} {
		_, _ = h.Write(append([]byte(part), 0))
	}
	_, _ = h.Write(body)
	return h.Sum(nil)
}

// keyed is a request with an idempotency key.
type keyed struct {
	key, prefix string
	fingerprint []byte
	// work does what the request asks for, under the claim's ID, and leaves the body
	// of its answer in x.out. It is not cut off when the client hangs up.
	work func(ctx context.Context, c *engine.Claim) (status int, err error)
	// unknown reports whether something may have been done in spite of the error.
	unknown func(err error) bool
}

// once does the work of a request once per key, and answers the same request again
// with the same answer.
func (x *exchange) once(k keyed) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), x.f.limits.Timeout)
	defer cancel()
	claim, answer, err := x.f.o.Work.Claim(ctx, x.token.Name, k.key, k.prefix, k.fingerprint)
	if err != nil {
		if e := core.AsError(err); e.Code == core.AlreadyExists {
			busy := *e
			busy.RetryAfter = time.Second
			return &busy
		}
		return callError(ctx, err, x.f.limits.Timeout)
	}
	if answer != nil {
		x.w.Header()[replayedHeader] = []string{"true"}
		x.out = append(x.out[:0], answer.Body...)
		return x.reply(answer.Status, jsonType)
	}
	ended := false
	defer func() {
		if !ended { // a panic
			claim.Abandon(ctx, true)
		}
	}()
	status, err := k.work(ctx, claim)
	ended = true
	if err != nil {
		claim.Abandon(ctx, k.unknown(err))
		return callError(ctx, err, x.f.limits.Timeout)
	}
	if err := claim.Finish(ctx, engine.Answer{Status: status, Body: bytes.Clone(x.out)}); err != nil {
		// It is done all the same. The same request again does it again, under the
		// same ID.
		x.f.o.Log.Warn("keep the answer of an idempotency key", slog.Any("error", err))
	}
	return x.reply(status, jsonType)
}

// mayBeDone reports whether an error leaves open what was done: everything but what
// is refused before it begins.
func mayBeDone(err error) bool {
	switch core.CodeOf(err) {
	case core.Unavailable, core.Timeout, core.Canceled, core.Internal:
		return true
	}
	return false
}

// mayBePublished is mayBeDone for an event, which the backend may have taken before
// there was no room left for its deliveries.
func mayBePublished(err error) bool {
	return mayBeDone(err) || core.CodeOf(err) == core.TooMany
}
