package engine

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine/internal/store"
)

// laneSnapshot is what others may know of a shift.
type laneSnapshot struct {
	LaneStatus
	parked, disabled int
}

// savedEndpoint is the state of an endpoint that is parked, or has a backlog.
type savedEndpoint struct {
	Parked   bool          `json:"parked,omitempty"`
	Disabled string        `json:"disabled,omitempty"`
	Failures int           `json:"failures,omitempty"`
	Since    time.Time     `json:"since,omitzero"`
	Pause    time.Duration `json:"pause,omitempty"`
	Probe    time.Time     `json:"probe,omitzero"`
	Cursor   []byte        `json:"cursor,omitempty"` // of the backlog
	Count    int64         `json:"count,omitempty"`
	Bytes    int64         `json:"bytes,omitempty"`
	Pardoned int64         `json:"pardoned,omitempty"`
	Oldest   time.Time     `json:"oldest,omitzero"`
}

const laneCursor = "lane" // the token of the lane's own cursor

func (s *shift) cursorSubject(id string) string {
	return s.e.store.Subject(store.Cursors, laneToken(s.n), id)
}

// touch notes that the endpoint's state has to be written.
func (s *shift) touch(ep *endpoint) {
	if !ep.gone {
		ep.dirty = true
		s.dirty[ep] = struct{}{}
	}
}

// tick writes down what has changed, and looks after what takes long.
func (s *shift) tick(now time.Time) {
	s.saveCursor(now)
	for ep := range s.dirty {
		s.saveEndpoint(ep)
	}
	s.relieve(now)
	if now.Sub(s.snapped) > time.Second || len(s.laters) < maxSnapped {
		s.snapped = now
		s.snap()
	}
	if now.Sub(s.abandoned) > time.Second {
		s.abandoned = now
		s.abandonedCalls()
	}
}

// A delivery that takes long holds the floor, and the cursor grows with every message
// behind it. A large one, in bytes, is written less often.
const (
	largeCursor     = 64 << 10
	largeCursorTime = time.Second
)

// saveCursor writes how far the lane is settled, and removes what is settled.
func (s *shift) saveCursor(now time.Time) {
	if !s.win.changed || s.saving || now.Before(s.nextSave) {
		return
	}
	s.saving = true
	floor, cursor := s.win.floor, s.win.cursor()
	if len(cursor) > largeCursor {
		s.nextSave = now.Add(largeCursorTime)
	}
	s.e.store.Put(store.Put{Subject: s.cursorSubject(laneCursor), Data: cursor}, func(_ uint64, err error) {
		s.post(func() {
			s.saving = false
			if err != nil {
				s.win.changed = true
			}
		})
	})
	const purgePause = 500 * time.Millisecond
	if floor > s.purged && now.Sub(s.lastPurge) >= purgePause {
		s.purged, s.lastPurge = floor, now
		s.e.store.Purge(store.Lane(s.n), "", floor+1, func(err error) {
			if err != nil {
				s.post(func() { s.purged, s.win.changed = 0, true })
			}
		})
	}
}

// saveEndpoint writes an endpoint's state, or removes it when there is nothing to
// say.
func (s *shift) saveEndpoint(ep *endpoint) {
	if ep.writing {
		return
	}
	delete(s.dirty, ep)
	ep.dirty = false
	subject := s.cursorSubject(ep.id)
	if ep.parked {
		s.unload(ep)
	}
	written := func(err error) {
		s.post(func() {
			ep.writing = false
			if err != nil {
				s.touch(ep)
			}
		})
	}
	if !ep.parked && ep.disabled == "" && ep.backlog == nil {
		ep.writing = true
		s.e.store.Purge(store.Cursors, subject, 0, written)
		return
	}
	saved := savedEndpoint{
		Parked: ep.parked, Disabled: ep.disabled, Failures: ep.failures, Since: ep.since, Pause: ep.pause, Probe: ep.probe, Oldest: ep.oldest,
	}
	if b := ep.backlog; b != nil {
		settled := b.win.floor
		saved.Cursor, saved.Count, saved.Bytes, saved.Pardoned = b.win.cursor(), b.pending(), b.size(), b.pardoned
		if settled > b.purged {
			b.purged = settled
			s.e.store.Purge(store.Backlog, s.backlogSubject(ep.id), settled+1, nil)
		}
	}
	data, err := json.Marshal(saved)
	if err != nil {
		s.log.Error("save endpoint", slog.Any("error", err))
		return
	}
	ep.writing = true
	s.e.store.Put(store.Put{Subject: subject, Data: data}, func(_ uint64, err error) { written(err) })
}

// saveLast writes everything down at the end of a shift.
func (s *shift) saveLast() {
	s.saving, s.win.changed = false, true
	s.lastPurge, s.nextSave = time.Time{}, time.Time{}
	s.saveCursor(time.Now())
	for ep := range s.dirty {
		ep.writing = false
		s.saveEndpoint(ep)
	}
	// What was sent before this is stored before it.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := s.e.store.PutWait(ctx, store.Put{Subject: s.cursorSubject(laneCursor), Data: s.win.cursor()}); err != nil {
		s.log.Warn("save the lane", slog.Any("error", err))
	}
}

// A delivery that holds up the lane for this long gets a place of its own.
const longest = 10 * time.Second

// relieve moves what takes long out of the lane, and what waits in memory when the
// lane holds as much as it may.
func (s *shift) relieve(now time.Time) {
	if s.stopping {
		return
	}
	full := !s.hasRoom()
	oldest := s.win.oldest()
	late := oldest != nil && now.Sub(oldest.read) > longest
	if !full && !late || now.Sub(s.relieved) < tickTime {
		return
	}
	s.relieved = now
	old := func(d *delivery) bool { return s.inLane(d) && now.Sub(d.pack.read) > longest }
	for _, ep := range s.endpoints {
		if first := ep.waiting.first(); first != nil && (full && first.log == &s.win || old(first)) {
			s.spillWaiting(ep)
		}
	}
	for d := range s.sending {
		if old(d) {
			s.moveRunning(d)
		}
	}
}

// resume reads where the lane stands. It returns an error only when the shift has
// been stopped.
func (s *shift) resume() error {
	for pause := retryPause; ; {
		err := s.tryResume()
		if err == nil || s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		s.log.Error("resume the lane: trying again", slog.Any("error", err))
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
		}
	}
}

func (s *shift) tryResume() error {
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	st := s.e.store
	m, err := st.Last(ctx, store.Cursors, s.cursorSubject(laneCursor))
	switch {
	case err == nil:
		s.win.resume(m.Data, st.End(store.Lane(s.n)))
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	if err := s.resumeEndpoints(ctx); err != nil {
		return err
	}
	counts, err := st.Counts(ctx, store.Backlog, s.backlogSubject("*"))
	if err != nil {
		return err
	}
	for subject := range counts {
		id := st.Tokens(store.Backlog, subject)[1]
		if !isResult(id) && s.e.registry.Subscription(id) == nil {
			st.Purge(store.Backlog, subject, 0, nil)
			continue
		}
		last, err := st.Last(ctx, store.Backlog, subject)
		if errors.Is(err, store.ErrNotFound) {
			continue
		} else if err != nil {
			return err
		}
		ep := s.endpoint(id)
		if ep.backlog == nil {
			ep.backlog = &backlog{}
		}
		b := ep.backlog
		b.next, b.last = b.win.floor+1, last.Seq
	}
	for _, ep := range s.endpoints {
		if ep.backlog != nil && ep.backlog.last == 0 {
			ep.backlog = nil // it was worked off
		}
	}
	loaded := make(chan struct{})
	s.spawn(func() { s.followLater(func() { close(loaded) }) })
	for {
		select {
		case <-s.posts.filled:
			s.doPosted()
		case <-loaded:
			s.doPosted()
			s.resuming = false
			for _, ep := range s.endpoints {
				if ep.parked {
					s.wakeAt(ep, ep.probe)
				}
				s.start(ep)
			}
			return nil
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
}

// resumeEndpoints reads the state of endpoints that were parked or had a backlog.
func (s *shift) resumeEndpoints(ctx context.Context) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	st := s.e.store
	err := st.Read(reading, store.Reading{
		Stream: store.Cursors, Subject: s.cursorSubject("*"),
		Each: func(m *store.Msg) {
			id := st.Tokens(store.Cursors, m.Subject)[1]
			var saved savedEndpoint
			if id == laneCursor || json.Unmarshal(m.Data, &saved) != nil {
				return
			}
			if !isResult(id) && s.e.registry.Subscription(id) == nil {
				st.Purge(store.Cursors, m.Subject, 0, nil)
				return
			}
			ep := s.endpoint(id)
			ep.parked, ep.disabled, ep.failures, ep.since, ep.pause, ep.probe = saved.Parked, saved.Disabled, saved.Failures, saved.Since, saved.Pause, saved.Probe
			ep.oldest, ep.told = saved.Oldest, saved.Parked
			if saved.Cursor != nil {
				ep.backlog = &backlog{count: saved.Count, bytes: saved.Bytes, pardoned: saved.Pardoned}
				ep.backlog.win.resume(saved.Cursor, st.End(store.Backlog))
				if ep.backlog.win.changed {
					s.touch(ep)
				}
			}
		},
		CaughtUp: stop,
	})
	if ctx.Err() != nil {
		return err
	}
	return nil
}

// maxSnapped is up to how many deliveries with a time of their own are looked at in
// every tick to see which is the oldest; more are looked at once a second.
const maxSnapped = 1000

// snap publishes how the lane is doing.
func (s *shift) snap() {
	snapshot := &laneSnapshot{LaneStatus: LaneStatus{
		Lane: s.n, Mine: true, Owner: s.e.instance, Pending: int64(s.win.unsettled) + int64(len(s.laters)),
		Running: int64(s.running), Endpoints: int64(len(s.endpoints)),
	}}
	older := func(t time.Time) {
		if !t.IsZero() && (snapshot.Oldest.IsZero() || t.Before(snapshot.Oldest)) {
			snapshot.Oldest = t
		}
	}
	for id, ep := range s.endpoints {
		if isResult(id) && ep.idle() {
			delete(s.endpoints, id) // its ID comes from a URL: such would pile up
			continue
		}
		if ep.parked {
			snapshot.parked++
		}
		if ep.disabled != "" {
			snapshot.disabled++
		}
		if b := ep.backlog; b != nil {
			snapshot.Pending += b.pending()
			if first := b.win.oldest(); first != nil {
				ep.oldest = first.created
			}
			older(ep.oldest)
		}
	}
	if first := s.win.oldest(); first != nil {
		older(first.created)
	}
	for _, entry := range s.laters {
		older(entry.created)
	}
	s.snapshot.Store(snapshot)
}

// pending is how many deliveries wait in the backlog.
func (b *backlog) pending() int64 { return max(0, b.count-b.win.done) }

// size is how many bytes wait in the backlog.
func (b *backlog) size() int64 { return max(0, b.bytes-b.win.doneBytes) }

// healthTime is how long a lane may take to tell how an endpoint is doing.
const healthTime = time.Second

// Health tells how an endpoint is doing; it is zero for one that was never owed
// anything, or that another bridge delivers to.
func (e *Engine) Health(s *core.Subscription) Health {
	id, answer := s.ID(), make(chan Health, 1)
	if !e.lanes[e.laneOf(s.Pattern)].tell(func(w *shift) { answer <- w.health(id) }) {
		return Health{}
	}
	timeout := time.NewTimer(healthTime)
	defer timeout.Stop()
	select {
	case h := <-answer:
		return h
	case <-timeout.C:
	case <-e.ctx.Done():
	}
	return Health{}
}

func (s *shift) health(id string) Health {
	ep := s.endpoints[id]
	if ep == nil {
		return Health{}
	}
	h := ep.health
	h.Pending = int64(ep.running + ep.waiting.len() + ep.later)
	if b := ep.backlog; b != nil {
		h.Pending += max(0, b.pending()-int64(ep.waiting.len()))
		for _, c := range b.chunks {
			h.Pending += int64(len(c.sources)) // not written yet
		}
	}
	h.Parked, h.Disabled = ep.parked, ep.disabled
	if ep.parked {
		h.NextProbe = ep.probe
	}
	return h
}
