package engine

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/anybridge/anybridge/engine/internal/store"
)

// The times of leases. A bridge that cannot renew stops after holdTime; another one
// takes over when it has renewed its own heartbeat expireAfter times meanwhile, so
// no clocks are compared, and a store that is away makes nobody look dead.
const (
	renewTime    = 2 * time.Second
	holdTime     = 4 * time.Second // from the sending of the last renewal that succeeded
	expireAfter  = 4
	handoverTime = 10 * time.Second // for attempts under way when a lane is given up
	cutoffTime   = time.Second      // for them when it is lost
	releaseTime  = 2 * time.Second  // for each write when a bridge leaves
	leaseTick    = 100 * time.Millisecond
	tidyAfter    = 15 // own heartbeats: then the messages of a dead bridge are removed
)

// leases decide which bridge works which lane. Bridges on one store tell each other
// that they live, and who works what, by messages in the registry: one heartbeat
// for each bridge, and one lease for each lane, which is only written by compare and
// set. All of them are repeated: what is not changed any more has been left.
//
// What a bridge knows of the others it has read back from the store, in the order
// of the store. Its own heartbeat is its clock: a message is old when so many of its
// own heartbeats have come back since.
type leases struct {
	e *Engine

	mu      sync.Mutex
	others  map[string]*sign // by instance
	lanes   []*lease
	leaving bool
	beating bool      // a heartbeat is under way
	beat    time.Time // when the last one was sent
	changed chan struct{}
	wg      sync.WaitGroup
}

// sign is what somebody has to repeat to be taken for alive.
type sign struct {
	seq    uint64 // 0: it has only been asked for
	silent int    // own heartbeats since
	left   bool   // the bridge has said goodbye
}

func (s *sign) fresh() bool { return !s.left && s.silent < expireAfter }

// lease is the right to work one lane.
type lease struct {
	sign
	owner   string     // as it has been read; "" when it is free
	writing sync.Mutex // one write at a time
	busy    bool       // one has been begun by step
	acked   uint64     // the last own write
	renewed time.Time  // when it was begun
	until   time.Time  // it may be worked; zero if it is not ours
	stage   stage
}

// stage is what this bridge does with a lane.
type stage int

const (
	idle stage = iota
	working
	stopping // because it was lost
	giving   // to another bridge
)

func newLeases(e *Engine) *leases {
	l := &leases{e: e, others: map[string]*sign{}, changed: make(chan struct{}, 1)}
	for range e.lanes {
		l.lanes = append(l.lanes, &lease{})
	}
	return l
}

func (l *leases) shared() bool { return l.e.store.Shared() }

// run works the lanes that this bridge has a right to, until ctx ends. A store of
// its own is worked at once.
func (l *leases) run(ctx context.Context) {
	if !l.shared() {
		l.mu.Lock()
		if !l.leaving {
			for _, lane := range l.e.lanes {
				lane.work()
			}
		}
		l.mu.Unlock()
		<-ctx.Done()
		return
	}
	defer l.wg.Wait()
	tick := time.NewTicker(leaseTick)
	defer tick.Stop()
	for {
		l.step(ctx, time.Now())
		select {
		case <-tick.C:
		case <-l.changed:
		case <-ctx.Done():
			return
		}
	}
}

// saw takes in a message of the registry that is not about a binding.
func (l *leases) saw(tokens []string, m *store.Msg) {
	if len(tokens) != 2 || !l.shared() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch tokens[0] {
	case "instance":
		if tokens[1] == l.e.instance {
			l.tock()
			break
		}
		l.others[tokens[1]] = &sign{seq: m.Seq, left: len(m.Data) == 0}
	case "lane":
		n, err := strconv.Atoi(tokens[1])
		if err != nil || n < 0 || n >= len(l.lanes) {
			return
		}
		x := l.lanes[n]
		x.seq, x.silent, x.owner = m.Seq, 0, ownerIn(m.Data)
		if x.owner != l.e.instance {
			x.until = time.Time{}
		}
	}
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// tock lets everything grow older by one heartbeat.
func (l *leases) tock() {
	for id, s := range l.others {
		if s.silent++; s.silent > tidyAfter {
			delete(l.others, id)
			if s.seq > 0 {
				l.e.store.Purge(store.Registry, l.instanceSubject(id), s.seq+1, nil)
			}
		}
	}
	for _, x := range l.lanes {
		x.silent++
	}
}

// lane's message.
type leaseRecord struct {
	Owner string `json:"owner"`
}

func ownerIn(data []byte) string {
	var r leaseRecord
	if json.Unmarshal(data, &r) != nil {
		return ""
	}
	return r.Owner
}

func (l *leases) instanceSubject(id string) string {
	return l.e.store.Subject(store.Registry, "instance", id)
}

// step does what is due.
func (l *leases) step(ctx context.Context, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.beating && !l.leaving && now.Sub(l.beat) >= renewTime {
		l.beating, l.beat = true, now
		l.wg.Go(func() { l.sendBeat(ctx) })
	}
	for n, x := range l.lanes {
		if x.owner == l.e.instance && now.Sub(x.renewed) >= renewTime {
			l.put(ctx, n, l.e.instance, now)
		}
		// The lease must have come back: then all registrations that were made
		// before it are known.
		mine := now.Before(x.until) && x.owner == l.e.instance
		switch {
		case x.stage == working && !mine:
			l.e.log.Warn("lane lost: its lease could not be renewed, or another bridge has it", slog.Int("lane", n), slog.String("owner", x.owner))
			l.end(n, stopping, cutoffTime, false)
		case x.stage == idle && mine && x.seq >= x.acked && !l.leaving:
			l.e.log.Debug("lane taken", slog.Int("lane", n))
			x.stage = working
			l.e.lanes[n].work()
		}
	}
	if !l.leaving {
		l.share(ctx, now)
	}
}

// againTime is the pause before a write is repeated that was refused.
const againTime = 250 * time.Millisecond

func (l *leases) sendBeat(ctx context.Context) {
	_, err := l.e.store.PutWait(ctx, store.Put{Subject: l.instanceSubject(l.e.instance), Data: []byte("{}")})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.beating = false
	if err != nil && !errors.Is(err, store.ErrUnknown) { // two at once would count as two
		l.beat = time.Now().Add(againTime - renewTime)
	}
}

// put has this bridge take a lane, or keep it, beside the others. What comes of it
// is read back. The caller holds mu.
func (l *leases) put(ctx context.Context, n int, from string, now time.Time) {
	x := l.lanes[n]
	if x.busy {
		return
	}
	x.busy, x.renewed = true, now
	l.wg.Go(func() {
		err := l.write(ctx, n, from, l.e.instance)
		l.mu.Lock()
		defer l.mu.Unlock()
		x.busy = false
		if err != nil {
			x.renewed = time.Now().Add(againTime - renewTime)
		}
	})
}

// write writes a lane's lease, if its owner is still who it was.
func (l *leases) write(ctx context.Context, n int, from, to string) error {
	x := l.lanes[n]
	x.writing.Lock()
	defer x.writing.Unlock()
	l.mu.Lock()
	seq, changed := max(x.seq, x.acked), x.owner != from
	l.mu.Unlock()
	if changed {
		return store.ErrConflict
	}
	data, err := json.Marshal(leaseRecord{Owner: to})
	if err != nil {
		return err
	}
	sent := time.Now()
	acked, err := l.e.store.PutWait(ctx, store.Put{Subject: l.e.store.Subject(store.Registry, "lane", strconv.Itoa(n)), Data: data, IfSeq: &seq})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		return err
	}
	x.acked, x.until = acked, time.Time{}
	if to == l.e.instance {
		x.until = sent.Add(holdTime)
	} else if x.seq < acked {
		x.owner = to
	}
	return nil
}

// end stops a lane beside the others and, if it is given up, releases its lease.
// The caller holds mu.
func (l *leases) end(n int, why stage, limit time.Duration, release bool) {
	l.lanes[n].stage = why
	l.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		_ = l.e.lanes[n].stop(ctx) // what was cut off stays owed
		cancel()
		if release {
			l.release(n)
		}
		l.mu.Lock()
		l.lanes[n].stage = idle
		l.mu.Unlock()
	})
}

func (l *leases) release(n int) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTime)
	defer cancel()
	if err := l.write(ctx, n, l.e.instance, ""); err != nil && !errors.Is(err, store.ErrConflict) {
		l.e.log.Warn("release a lane: it is free when its lease has expired", slog.Int("lane", n), slog.Any("error", err))
	}
}

// close stops all lanes, as ctx allows, and says goodbye: others take over at once.
func (l *leases) close(ctx context.Context) error {
	l.mu.Lock()
	l.leaving = true
	for _, x := range l.lanes {
		x.stage = giving
	}
	l.mu.Unlock()
	var wg sync.WaitGroup
	errs := make([]error, len(l.lanes))
	for n, lane := range l.e.lanes {
		wg.Go(func() {
			errs[n] = lane.stop(ctx)
			if l.shared() {
				l.release(n)
			}
		})
	}
	wg.Wait()
	if l.shared() {
		l.wait()
		ctx, cancel := context.WithTimeout(context.Background(), releaseTime)
		defer cancel()
		_, _ = l.e.store.PutWait(ctx, store.Put{Subject: l.instanceSubject(l.e.instance)}) // else it expires
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// wait waits for a heartbeat that is under way: it must not come after the goodbye.
func (l *leases) wait() {
	for end := time.Now().Add(releaseTime); time.Now().Before(end); time.Sleep(leaseTick / 10) {
		l.mu.Lock()
		beating := l.beating
		l.mu.Unlock()
		if !beating {
			return
		}
	}
}

// alive reports whether a bridge still runs. One that nothing is known of is given
// the time to show itself.
func (l *leases) alive(instance string) bool {
	if instance == l.e.instance {
		return true
	}
	if !l.shared() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.others[instance]
	if s == nil {
		s = &sign{}
		l.others[instance] = s
	}
	return s.fresh()
}

// owner is the bridge that works a lane, or "".
func (l *leases) owner(lane int) string {
	if !l.shared() {
		return l.e.instance
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := l.lanes[lane]; !l.free(x) {
		return x.owner
	}
	return ""
}
