package engine

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine/internal/record"
	"github.com/anybridge/anybridge/engine/internal/store"
)

func (e *Engine) deadSubject(endpointID, id string) string {
	return e.store.Subject(store.Dead, endpointID, idToken(id))
}

// bury makes a dead letter of a delivery.
func (s *shift) bury(d *delivery, reason string) {
	item := d.item()
	item.Reason, item.Died = reason, time.Now()
	put := store.Put{Subject: s.e.deadSubject(d.to.id, item.ID), Data: record.AppendItem(nil, item)}
	ep := d.to
	if d.entry == nil && ep.target.Ordered && ep.head == nil {
		ep.head = &laterEntry{to: ep, busy: true} // the next one waits until this one is written
	}
	ep.moves++
	s.putUntilDone(put, func(uint64) {
		defer s.moveEnds(ep)
		s.e.counters.deadLetters.Add(1)
		if ep.head != nil && ep.head.subject == "" {
			ep.head = nil
		}
		if !ep.gone {
			s.settle(d)
			s.trouble(ep, d, DeadLetter, reason)
		}
		s.start(ep)
	})
}

// Replay sends a dead letter again, or a delivery that waits for its next attempt
// now. The error is NotFound if the owner has no such delivery ("" owns all), or if
// its subscription exists no more.
func (e *Engine) Replay(ctx context.Context, owner, id string) error {
	item, m, state, err := e.find(ctx, owner, id)
	if err != nil {
		return err
	}
	if state == Failed {
		return e.revive(ctx, item, m)
	}
	return e.later(ctx, item, time.Now(), &m.Seq)
}

// revive moves a dead letter to where it is delivered from.
func (e *Engine) revive(ctx context.Context, item *record.Item, m *store.Msg) error {
	item.Reason, item.Died, item.Attempts, item.Tries = "", time.Time{}, 0, nil
	if err := e.later(ctx, item, time.Now(), nil); err != nil {
		return err
	}
	e.counters.replayed.Add(1)
	if err := e.store.PurgeWait(ctx, store.Dead, m.Subject, m.Seq+1); err != nil {
		return storeError(err, "remove the dead letter")
	}
	return nil
}

// later writes a delivery to be attempted at a time. With ifSeq it must not have
// changed meanwhile.
func (e *Engine) later(ctx context.Context, item *record.Item, next time.Time, ifSeq *uint64) error {
	lane, err := e.laneOfEndpoint(item.To)
	if err != nil {
		return err
	}
	_, err = e.store.PutWait(ctx, store.Put{
		Subject: e.laterSubject(lane, item.To, item.ID), Header: laterHeader(next, item.Created), Data: record.AppendItem(nil, item), IfSeq: ifSeq,
	})
	if errors.Is(err, store.ErrConflict) {
		return core.Errorf(core.AlreadyExists, "delivery %s is being attempted: look again in a moment", item.ID)
	}
	return storeError(err, "store the delivery")
}

// laneOfEndpoint is the lane of a subscription, or of a result's endpoint.
func (e *Engine) laneOfEndpoint(id string) (int, error) {
	if isResult(id) {
		return int(hashText(id) % uint64(len(e.lanes))), nil
	}
	sub := e.registry.Subscription(id)
	if sub == nil {
		return 0, core.Errorf(core.NotFound, "its subscription %s exists no more: subscribe again first", id)
	}
	return e.laneOf(sub.Pattern), nil
}

// ReplayAll sends all dead letters again that the filter means, and returns how
// many there were. Those without a subscription are left where they are.
func (e *Engine) ReplayAll(ctx context.Context, f Filter) (int, error) {
	n := 0
	var failed error
	_, err := e.scan(ctx, store.Dead, f, 0, func(item *record.Item, m *store.Msg) bool {
		err := e.revive(ctx, item, m)
		switch core.CodeOf(err) {
		case "":
			n++
		case core.NotFound:
			e.log.Debug("dead letter left", slog.String("id", item.ID), slog.Any("error", err))
		default:
			failed = err
			return false
		}
		return true
	})
	if failed == nil {
		failed = err
	}
	return n, failed
}

// Discard removes a dead letter for good.
func (e *Engine) Discard(ctx context.Context, owner, id string) error {
	_, m, state, err := e.find(ctx, owner, id)
	if err != nil {
		return err
	}
	if state != Failed {
		return core.Errorf(core.InvalidArgument, "delivery %s has not failed: unsubscribe to drop what is owed", id)
	}
	return storeError(e.store.PurgeWait(ctx, store.Dead, m.Subject, m.Seq+1), "remove the dead letter")
}
