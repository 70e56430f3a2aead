package engine

import (
	"context"
	"log/slog"
	"time"

	"github.com/anybridge/anybridge/engine/internal/store"
)

// What this bridge knows of subscriptions comes a moment after they were made with
// another bridge. So a lane may hold deliveries for one that is not known here yet:
// the store is asked before anything is dropped.

// strangers are the subscriptions in a message of the lane that are not known here.
func (s *shift) strangers(a *arrival) (ids []string) {
	if !s.e.store.Shared() || a.met {
		return nil
	}
	seen := map[string]bool{}
	for i := range a.entries {
		for _, key := range a.entries[i].To {
			if s.byKey[key] != nil {
				continue
			}
			if id := key.ID(); !seen[id] && s.e.registry.Subscription(id) == nil {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// meet asks the store for subscriptions, until it answers, and then goes on with
// then on the lane's goroutine.
func (s *shift) meet(ids []string, then func()) {
	s.spawn(func() {
		for _, id := range ids {
			for !s.look(id) {
				select {
				case <-time.After(retryPause):
				case <-s.ctx.Done():
					return
				}
			}
		}
		s.post(then)
	})
}

func (s *shift) look(id string) bool {
	ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
	defer cancel()
	err := s.e.registry.look(ctx, id)
	if err != nil && s.ctx.Err() == nil {
		s.log.Warn("look for a subscription: trying again", slog.String("id", id), slog.Any("error", err))
	}
	return err == nil
}

// meetAll takes a message of the lane in when all its subscriptions are known, or
// known not to be. Nothing else is taken in meanwhile.
func (s *shift) meetAll(a *arrival, ids []string) {
	s.meeting = true
	s.meet(ids, func() {
		s.meeting, a.met = false, true
		s.accept(a)
	})
}

// removed forgets a subscription that is gone, unless it has come back: then what is
// owed to it may have come before word of that.
func (s *shift) removed(id string) {
	if !s.e.store.Shared() {
		s.bindingChanged(id, nil)
		return
	}
	s.meet([]string{id}, func() {
		s.bindingChanged(id, s.e.registry.Subscription(id))
	})
}

// strayLater removes a delivery with a time of its own whose subscription is gone.
func (s *shift) strayLater(id string, p laterPut) {
	purge := func() { s.e.store.Purge(store.Later, p.subject, p.seq+1, nil) }
	if !s.e.store.Shared() {
		purge()
		return
	}
	s.meet([]string{id}, func() {
		if s.e.registry.Subscription(id) == nil {
			purge()
			return
		}
		s.upsertLater(p)
	})
}
