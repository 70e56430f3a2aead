package engine

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/anybridge/anybridge/engine/internal/record"
	"github.com/anybridge/anybridge/engine/internal/store"
)

// laterEntry is a delivery with a time of its own: a retry, or a result. All of it
// but this is on the disk.
type laterEntry struct {
	subject string
	to      *endpoint
	seq     uint64
	created time.Time // when it became owed; zero: not known
	call    string    // a call under way: the bridge that makes it
	busy    bool      // due, or being attempted
	timer   *timer
}

func (e *laterEntry) cancel() {
	if e.timer != nil {
		e.timer.cancel()
		e.timer = nil
	}
}

// Header fields of messages in the later stream.
const (
	headerNext = "Ab-Next" // when it is due, in milliseconds since 1970
	headerCall = "Ab-Call" // a call under way: the bridge that makes it
	headerAge  = "Ab-From" // when it became owed, likewise
)

var errRemoved = errors.New("removed meanwhile")

func laneToken(n int) string { return strconv.Itoa(n) }

// idToken is a delivery's ID as one token of a subject. IDs come from backends, so
// they may hold anything.
func idToken(id string) string {
	const longest = 128
	plain := func(r rune) bool {
		return r < '0' && r != '-' || r > '9' && r < 'A' || r > 'Z' && r < 'a' && r != '_' || r > 'z'
	}
	if id != "" && len(id) <= longest && strings.IndexFunc(id, plain) < 0 {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "~" + base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:20])
}

func (s *shift) laterSubject(endpointID, id string) string {
	return s.e.laterSubject(s.n, endpointID, id)
}

func (e *Engine) laterSubject(lane int, endpointID, id string) string {
	return e.store.Subject(store.Later, laneToken(lane), endpointID, idToken(id))
}

func laterHeader(next, created time.Time) map[string][]string {
	return map[string][]string{headerNext: {milliseconds(next)}, headerAge: {milliseconds(created)}}
}

func milliseconds(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// headerTime reads a header field that milliseconds wrote; zero if it is not there.
func headerTime(m *store.Msg, field string) time.Time {
	if ms, err := strconv.ParseInt(m.Get(field), 10, 64); err == nil {
		return time.UnixMilli(ms)
	}
	return time.Time{}
}

// followLater brings what other bridges, asynchronous calls and replays put into
// the later stream, and first what is there already. loaded is called after that.
func (s *shift) followLater(loaded func()) {
	_ = s.e.store.Read(s.ctx, store.Reading{
		Stream: store.Later, Subject: s.e.store.Subject(store.Later, laneToken(s.n), "*", "*"), HeaderOnly: true,
		Each: func(m *store.Msg) {
			put := laterPut{m.Subject, m.Seq, headerTime(m, headerNext), headerTime(m, headerAge), m.Get(headerCall)}
			s.post(func() { s.upsertLater(put) })
		},
		CaughtUp: loaded,
	})
}

// laterPut is what the header of a message in the later stream says.
type laterPut struct {
	subject       string
	seq           uint64
	next, created time.Time
	call          string
}

// upsertLater takes in a delivery with a time of its own, or a new time for it.
func (s *shift) upsertLater(p laterPut) {
	entry := s.laters[p.subject]
	if entry == nil {
		id := s.e.store.Tokens(store.Later, p.subject)[1]
		if !isResult(id) && s.e.registry.Subscription(id) == nil {
			s.strayLater(id, p)
			return
		}
		entry = s.entry(p.subject, s.endpoint(id))
	} else if p.seq <= entry.seq {
		return
	}
	entry.seq, entry.created, entry.call = p.seq, p.created, p.call
	if p.call != "" || entry.busy {
		return
	}
	s.schedule(entry, p.next)
}

// schedule has the entry attempted at a time.
func (s *shift) schedule(entry *laterEntry, next time.Time) {
	entry.cancel()
	entry.timer = s.timers.add(next, func() {
		entry.timer, entry.busy = nil, true
		entry.to.due.push(&delivery{to: entry.to, entry: entry})
		s.start(entry.to)
	})
}

// loadLater reads an entry's delivery. It runs beside the lane.
func (s *shift) loadLater(entry *laterEntry) (*record.Item, error) {
	ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
	defer cancel()
	m, err := s.e.store.Last(ctx, store.Later, entry.subject)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errRemoved
	}
	if err != nil {
		return nil, err
	}
	return record.OneItem(m.Data)
}

// moveLater writes a delivery down on its own, to be attempted at a time, and takes
// it off where it was kept before.
func (s *shift) moveLater(d *delivery, next time.Time) {
	ep := d.to
	subject := s.laterSubject(ep.id, d.ID())
	entry := s.entry(subject, ep)
	entry.busy, entry.created = true, d.created
	ep.moves++
	put := store.Put{Subject: subject, Header: laterHeader(next, d.created), Data: record.AppendItem(nil, d.item())}
	s.putUntilDone(put, func(seq uint64) {
		defer s.moveEnds(ep)
		if ep.gone {
			s.e.store.Purge(store.Later, subject, seq+1, nil)
			if d.log == &s.win {
				s.win.settle(d.pack, d.index)
			}
			return
		}
		if d.entry == nil {
			s.settle(d)
		}
		entry.seq, entry.busy = max(entry.seq, seq), false
		s.schedule(entry, next)
		s.start(ep)
	})
}

// entry returns the entry of a subject, which it makes if need be. The first one of
// an ordered endpoint is what the others wait for, from this moment on.
func (s *shift) entry(subject string, ep *endpoint) *laterEntry {
	entry := s.laters[subject]
	if entry == nil {
		entry = &laterEntry{subject: subject, to: ep}
		s.laters[subject] = entry
		ep.later++
		if ep.target.Ordered && ep.head == nil {
			ep.head = entry
		}
	}
	return entry
}

// putUntilDone writes a message, again and again if the store refuses, and then
// calls done. The lane goes on meanwhile.
func (s *shift) putUntilDone(p store.Put, done func(seq uint64)) {
	s.puts++
	s.e.store.Put(p, func(seq uint64, err error) {
		s.post(func() {
			s.puts--
			defer s.tellCalm()
			if err == nil {
				done(seq)
				return
			}
			s.log.Error("write to the store: trying again", slog.String("subject", p.Subject), slog.Any("error", err))
			s.timers.add(time.Now().Add(time.Second), func() { s.putUntilDone(p, done) })
		})
	})
}

// purgeUntilDone removes what a subject holds below a sequence number, again and
// again if the store refuses: what stays is delivered again when the lane is resumed.
func (s *shift) purgeUntilDone(stream, subject string, below uint64) {
	s.puts++
	s.e.store.Purge(stream, subject, below, func(err error) {
		s.post(func() {
			s.puts--
			defer s.tellCalm()
			if err != nil {
				s.timers.add(time.Now().Add(time.Second), func() { s.purgeUntilDone(stream, subject, below) })
			}
		})
	})
}

// removeLater takes an entry off the books.
func (s *shift) removeLater(entry *laterEntry) {
	s.purgeUntilDone(store.Later, entry.subject, entry.seq+1)
	s.dropLater(entry)
}

// dropLater forgets an entry that is no longer on the disk.
func (s *shift) dropLater(entry *laterEntry) {
	entry.cancel()
	if s.laters[entry.subject] != entry {
		return
	}
	delete(s.laters, entry.subject)
	ep := entry.to
	ep.later--
	if ep.head == entry {
		ep.head = nil
		s.nextHead(ep)
	}
}

// nextHead looks for another entry that the others of an ordered endpoint have to
// wait for. There is one after a change of the endpoint's options only.
func (s *shift) nextHead(ep *endpoint) {
	if ep.later == 0 || !ep.target.Ordered {
		return
	}
	for _, entry := range s.laters {
		if entry.to == ep && (ep.head == nil || entry.seq < ep.head.seq) {
			ep.head = entry
		}
	}
}

// moveRunning writes a delivery of the lane down on its own while its attempt goes
// on, because it holds up the lane, or the endpoint's backlog.
func (s *shift) moveRunning(d *delivery) {
	ep := d.to
	d.moving = true
	subject := s.laterSubject(ep.id, d.ID())
	put := store.Put{Subject: subject, Header: laterHeader(time.Now(), d.created), Data: record.AppendItem(nil, d.item())}
	entry := s.entry(subject, ep)
	entry.busy, entry.created = true, d.created
	ep.moves++
	s.putUntilDone(put, func(seq uint64) {
		defer s.moveEnds(ep)
		d.moving = false
		entry.seq = max(entry.seq, seq)
		s.win.settle(d.pack, d.index)
		d.entry = entry
		if ep.gone {
			s.e.store.Purge(store.Later, subject, seq+1, nil)
		}
		if out := d.outcome; out != nil {
			d.outcome = nil
			s.finish(d, out)
		}
	})
}
