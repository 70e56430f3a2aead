package engine

import (
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine/internal/record"
	"github.com/anybridge/anybridge/engine/internal/store"
)

func hashText(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return h.Sum64()
}

// AsyncCall is a call whose outcome is owed to an endpoint.
type AsyncCall struct {
	// ID is what the outcome is delivered under; "" has one made.
	ID      string
	Owner   string // the token
	Call    *core.Call
	Timeout time.Duration
	To      core.Endpoint
	// Again says that a call of this ID may have been made before: it is not made
	// again, and its outcome, if nobody owes it any more, is "unknown".
	Again bool
}

// outcomeUnknown is what is delivered of a call whose bridge died.
func outcomeUnknown() *core.Error {
	return core.Errorf(core.Unavailable, "the bridge was stopped during the call: whether the procedure ran, and what came of it, is unknown")
}

// StartCall makes the call and owes what comes of it, under the returned ID. When it
// returns, an outcome will be delivered at least once whatever happens to this
// process; the call itself is made at most once.
func (e *Engine) StartCall(ctx context.Context, c AsyncCall) (string, error) {
	if c.ID == "" {
		c.ID = core.NewID("call")
	}
	if err := e.Room(); err != nil {
		return "", err
	}
	if e.calls.Add(1) > int64(e.o.MaxCalls) {
		e.calls.Add(-1)
		err := core.Errorf(core.TooMany, "%d asynchronous calls are under way", e.o.MaxCalls)
		err.RetryAfter = time.Second
		return "", err
	}
	if !e.begin() {
		e.calls.Add(-1)
		return "", core.Errorf(core.Unavailable, "the bridge is shutting down")
	}
	defer e.wg.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	to := resultEndpoint(c.Owner, c.To.URL)
	lane, _ := e.laneOfEndpoint(to)
	item := &record.Item{
		ID: c.ID, Owner: c.Owner, To: to, Created: time.Now(),
		Call: &record.Call{Procedure: c.Call.Procedure, Endpoint: c.To},
	}
	put := store.Put{Subject: e.laterSubject(lane, to, c.ID), IfSeq: new(uint64)}
	if c.Again {
		defer e.calls.Add(-1)
		item.Call.Done, item.Call.Err = true, outcomeUnknown()
		put.Header, put.Data = laterHeader(time.Now(), item.Created), record.AppendItem(nil, item)
		if _, err := e.store.PutWait(ctx, put); err != nil && !errors.Is(err, store.ErrConflict) {
			return "", storeError(err, "store the call")
		}
		return c.ID, nil
	}
	put.Header, put.Data = map[string][]string{headerCall: {e.instance}, headerAge: {milliseconds(item.Created)}}, record.AppendItem(nil, item)
	put.ID = e.instance + "_" + c.ID
	seq, err := persist(ctx, e.store, put, startTime)
	if err != nil {
		e.wg.Go(func() {
			defer e.calls.Add(-1)
			e.disown(put.Subject)
		})
		return "", storeError(err, "store the call")
	}
	e.wg.Go(func() {
		defer e.calls.Add(-1)
		e.makeCall(c, item, put.Subject, seq)
	})
	return c.ID, nil
}

// startTime is how long the write before a call is tried.
const startTime = 10 * time.Second

// disown ends a call that was not made because its write failed, if it has been
// written all the same.
func (e *Engine) disown(subject string) {
	for e.ctx.Err() == nil {
		m, err := e.store.Last(e.ctx, store.Later, subject)
		if errors.Is(err, store.ErrNotFound) || err == nil && m.Get(headerCall) != e.instance {
			return
		}
		if err == nil {
			err = e.abandonCall(e.ctx, subject, m.Seq)
		}
		if err == nil || errors.Is(err, store.ErrConflict) {
			return
		}
		select {
		case <-time.After(time.Second):
		case <-e.ctx.Done():
		}
	}
}

// makeCall makes the call and writes down what came of it in the place of the call.
func (e *Engine) makeCall(c AsyncCall, item *record.Item, subject string, seq uint64) {
	ctx, cancel := context.WithTimeout(e.ctx, c.Timeout)
	result, err := e.o.Call(ctx, c.Call)
	cancel()
	item.Call.Done = true
	if err != nil {
		item.Call.Err = core.AsError(err)
	} else {
		item.Call.Result, item.Call.Details = result.Payload, result.Details
	}
	put := store.Put{Subject: subject, Header: laterHeader(time.Now(), item.Created), Data: record.AppendItem(nil, item), IfSeq: &seq}
	for e.ctx.Err() == nil {
		if _, err = persist(e.ctx, e.store, put, time.Minute); err == nil || errors.Is(err, store.ErrConflict) {
			return // on a conflict: the result is there, or somebody took this bridge for dead
		}
		if errors.Is(err, store.ErrTooLarge) {
			item.Call.Result, item.Call.Details = core.Payload{}, nil
			item.Call.Err = core.Errorf(core.TooLarge, "the procedure has returned: what it returned is too large to be delivered")
			put.Data = record.AppendItem(nil, item)
			continue
		}
		e.log.Error("store the outcome of a call: trying again", slog.String("id", c.ID), slog.Any("error", err))
		select {
		case <-time.After(time.Second):
		case <-e.ctx.Done():
		}
	}
}

// abandonedCalls gives the calls of bridges that are dead their outcome. It runs on
// the lane's goroutine.
func (s *shift) abandonedCalls() {
	for _, entry := range s.laters {
		if entry.call == "" || entry.busy || s.e.leases.alive(entry.call) {
			continue
		}
		entry.busy = true
		s.spawn(func() {
			err := s.e.abandonCall(s.ctx, entry.subject, entry.seq)
			s.post(func() {
				entry.busy = false
				if err != nil && !errors.Is(err, store.ErrConflict) {
					s.log.Error("end an abandoned call: trying again", slog.Any("error", err))
				}
				if entry.call == "" && s.laters[entry.subject] == entry {
					s.schedule(entry, time.Now()) // the outcome has been read back while it was busy
				}
			})
		})
	}
}

func (e *Engine) abandonCall(ctx context.Context, subject string, seq uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	m, err := e.store.Last(ctx, store.Later, subject)
	if err != nil {
		return err
	}
	item, err := record.OneItem(m.Data)
	if err != nil || m.Seq != seq || item.Call == nil {
		return err
	}
	item.Call.Done, item.Call.Err = true, outcomeUnknown()
	_, err = e.store.PutWait(ctx, store.Put{
		Subject: subject, Header: laterHeader(time.Now(), item.Created), Data: record.AppendItem(nil, item), IfSeq: &seq,
	})
	return err
}
