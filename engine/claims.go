package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine/internal/store"
)

// Answer is what a request was answered with.
type Answer struct {
	Status int
	Body   []byte
}

// claims are the idempotency keys whose requests this bridge works on.
type claims struct {
	mu      sync.Mutex
	running map[string]bool // by subject
}

// Claim is the right to work on the request of one idempotency key. Who has it ends
// it once, with Finish or Abandon.
type Claim struct {
	// ID is the same for every request with this key: the ID to do the work under.
	ID string
	// Again says that a former request with this key was cut off: whether its work
	// was done is unknown.
	Again bool

	e       *Engine
	subject string
	seq     uint64
	kept    keptKey
}

// keptKey is what is stored of a key.
type keptKey struct {
	ID          string `json:"id"`
	Fingerprint []byte `json:"fingerprint"` // of the request
	By          string `json:"by"`          // the bridge that works on it
	Status      int    `json:"status,omitempty"`
	Body        []byte `json:"body,omitempty"`
}

// MaxKey is the longest idempotency key, in bytes.
const MaxKey = 255

// Claim begins the work on a request with an idempotency key, or returns what a
// request with that key was answered with. The error is AlreadyExists while another
// one is being worked on, and KeyReused if the key came with another request
// (another fingerprint) before. prefix begins the claim's ID.
func (e *Engine) Claim(ctx context.Context, owner, key, prefix string, fingerprint []byte) (*Claim, *Answer, error) {
	if key == "" || len(key) > MaxKey {
		return nil, nil, core.Errorf(core.InvalidArgument, "Idempotency-Key: want 1 to %d bytes", MaxKey)
	}
	sum := sha256.Sum256([]byte(owner + "\x00" + key))
	subject := e.store.Subject(store.Keys, hex.EncodeToString(sum[:16]))
	inProgress := core.Errorf(core.AlreadyExists, "a request with this Idempotency-Key is being worked on: ask again in a moment")
	e.claims.mu.Lock()
	if e.claims.running[subject] {
		e.claims.mu.Unlock()
		return nil, nil, inProgress
	}
	e.claims.running[subject] = true
	e.claims.mu.Unlock()
	claim, answer, err := e.claim(ctx, subject, prefix, fingerprint)
	if claim == nil {
		e.claims.end(subject)
	}
	if errors.Is(err, store.ErrConflict) {
		return nil, nil, inProgress
	}
	if err != nil && core.CodeOf(err) == core.Internal {
		err = storeError(err, "keep the Idempotency-Key")
	}
	return claim, answer, err
}

func (c *claims) end(subject string) {
	c.mu.Lock()
	delete(c.running, subject)
	c.mu.Unlock()
}

func (e *Engine) claim(ctx context.Context, subject, prefix string, fingerprint []byte) (*Claim, *Answer, error) {
	c := &Claim{e: e, subject: subject, kept: keptKey{Fingerprint: fingerprint}}
	var last uint64
	m, err := e.store.Last(ctx, store.Keys, subject)
	switch {
	case err == nil && len(m.Data) > 0:
		last = m.Seq
		if err := json.Unmarshal(m.Data, &c.kept); err != nil {
			return nil, nil, err
		}
		if string(c.kept.Fingerprint) != string(fingerprint) {
			return nil, nil, core.Errorf(core.KeyReused, "this Idempotency-Key came with another request before: use a new key for a new request")
		}
		if c.kept.Status != 0 {
			return nil, &Answer{c.kept.Status, c.kept.Body}, nil
		}
		if c.kept.By != e.instance && e.leases.alive(c.kept.By) {
			return nil, nil, store.ErrConflict
		}
		c.Again = true
	case err == nil:
		last = m.Seq
	case !errors.Is(err, store.ErrNotFound):
		return nil, nil, err
	}
	if c.kept.ID == "" {
		c.kept.ID = core.NewID(prefix)
	}
	c.ID, c.kept.By = c.kept.ID, e.instance
	c.seq, err = c.put(ctx, last)
	if err != nil {
		return nil, nil, err
	}
	return c, nil, nil
}

func (c *Claim) put(ctx context.Context, last uint64) (uint64, error) {
	data, err := json.Marshal(c.kept)
	if err != nil {
		return 0, err
	}
	return persist(ctx, c.e.store, store.Put{Subject: c.subject, Data: data, IfSeq: &last, ID: core.NewID("claim")}, saveTime)
}

// Finish keeps the answer for later requests with the key.
func (c *Claim) Finish(ctx context.Context, a Answer) error {
	defer c.e.claims.end(c.subject)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	c.kept.Status, c.kept.Body = a.Status, a.Body
	_, err := c.put(ctx, c.seq)
	return storeError(err, "keep the answer")
}

// Abandon gives the key back: nothing was done, and the request may be sent again.
// After unknown, something may have been done: the next request with the key finds
// Again set.
func (c *Claim) Abandon(ctx context.Context, unknown bool) {
	defer c.e.claims.end(c.subject)
	if unknown {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	if err := c.e.store.PurgeWait(ctx, store.Keys, c.subject, 0); err != nil {
		c.e.log.Warn("give back an idempotency key", slog.Any("error", err))
	}
}
