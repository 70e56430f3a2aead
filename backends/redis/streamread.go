package redis

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/anybridge/anybridge/core"
)

// add opens the topic for a feed: it makes the consumer group if there is none, and
// starts reading with the first feed.
func (s *streamReader) add(ctx context.Context, f *feed) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	err := s.r.sys.keyed(ctx, s.cfg.Key, func(c goredis.Cmdable) error {
		err := c.XGroupCreateMkStream(ctx, s.cfg.Key, s.cfg.Group, s.start()).Err()
		if isReply(err, "BUSYGROUP") {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return core.Errorf(core.Unavailable, "the backend is closed")
	}
	s.feeds = append(slices.Clone(s.feeds), f)
	s.backend = f.Pattern().Backend
	if s.stop != nil {
		return nil
	}
	previous, done := s.done, make(chan struct{})
	s.done = done
	var running context.Context
	running, s.stop = context.WithCancel(s.r.ctx)
	s.r.wg.Go(func() {
		defer close(done)
		if previous != nil {
			<-previous
		}
		s.run(running)
	})
	return nil
}

func (s *streamReader) start() string {
	if s.cfg.Start == "all" {
		return "0"
	}
	return "$"
}

// remove takes the feed out; the last one stops reading. What it has not taken stays
// pending in Redis, if nobody else has.
func (s *streamReader) remove(f *feed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.feeds, f) {
		return
	}
	s.feeds = slices.DeleteFunc(slices.Clone(s.feeds), func(o *feed) bool { return o == f })
	if len(s.feeds) == 0 {
		s.stop()
		s.stop = nil
		return
	}
	for _, e := range s.entries {
		s.takenLocked(e, f)
	}
}

// taken notes that a feed has taken charge of an entry.
func (s *streamReader) taken(e *entry, f *feed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takenLocked(e, f)
}

func (s *streamReader) takenLocked(e *entry, f *feed) {
	if i := slices.Index(e.owners, f); i >= 0 {
		if e.owners = slices.Delete(e.owners, i, i+1); len(e.owners) == 0 {
			s.acks = append(s.acks, e)
		}
	}
}

// close ends every feed and waits until what was taken is acknowledged.
func (s *streamReader) close(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	feeds, done := s.feeds, s.done
	if s.stop != nil {
		s.stop()
	}
	s.mu.Unlock()
	for _, f := range feeds {
		f.End(nil)
	}
	if done != nil {
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
}

// run reads until ctx ends, then acknowledges what was taken.
func (s *streamReader) run(ctx context.Context) {
	var acks sync.WaitGroup
	acks.Go(func() {
		tick := time.NewTicker(ackTick)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.acknowledge(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
	s.health.Keep(ctx, s.session)
	acks.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	s.acknowledge(last)
	s.mu.Lock()
	clear(s.entries)
	s.acks = nil
	s.mu.Unlock()
}

// acknowledge tells Redis of the entries that were taken.
func (s *streamReader) acknowledge(ctx context.Context) {
	s.mu.Lock()
	ids := make([]string, len(s.acks))
	for i, e := range s.acks {
		ids[i] = e.id
	}
	s.mu.Unlock()
	for part := range slices.Chunk(ids, 512) {
		ctx, cancel := context.WithTimeout(ctx, answerTimeout)
		err := s.r.sys.keyed(ctx, s.cfg.Key, func(c goredis.Cmdable) error {
			return c.XAck(ctx, s.cfg.Key, s.cfg.Group, part...).Err()
		})
		cancel()
		if err != nil {
			return // the next tick tries again
		}
		s.mu.Lock()
		for _, id := range part {
			delete(s.entries, id)
		}
		s.acks = slices.Delete(s.acks, 0, len(part))
		s.mu.Unlock()
		select {
		case s.room <- struct{}{}:
		default:
		}
	}
}

// session reads over one connection until it fails or ctx ends.
func (s *streamReader) session(ctx context.Context) error {
	c, err := s.r.sys.dialKey(ctx, s.cfg.Key)
	if err != nil {
		return err
	}
	defer c.Close()
	s.health.Up(slog.String("addr", c.addr))
	if err := s.readPending(ctx, c); err != nil {
		return s.failed(ctx, c, err)
	}
	var claimed time.Time
	for {
		if err := s.waitForRoom(ctx); err != nil {
			return err
		}
		if time.Since(claimed) >= s.cfg.ClaimAfter/2 {
			if err := s.claim(ctx, c); err != nil {
				return s.failed(ctx, c, err)
			}
			claimed = time.Now()
		}
		block := min(time.Second, s.cfg.ClaimAfter/2)
		reply, err := c.do(ctx, block+answerTimeout, "XREADGROUP", "GROUP", s.cfg.Group, s.cfg.Consumer,
			"COUNT", strconv.Itoa(readEntries), "BLOCK", strconv.FormatInt(max(1, block.Milliseconds()), 10), "STREAMS", s.cfg.Key, ">")
		if err != nil {
			return s.failed(ctx, c, err)
		}
		if _, _, err := s.handle(ctx, entriesOf(reply)); err != nil {
			return err
		}
	}
}

// failed makes the group anew if it has gone, with all that the stream has then.
func (s *streamReader) failed(ctx context.Context, c *conn, err error) error {
	if !isReply(err, "NOGROUP", "UNBLOCKED") {
		return s.r.sys.error(err)
	}
	if _, again := c.do(ctx, answerTimeout, "XGROUP", "CREATE", s.cfg.Key, s.cfg.Group, "0", "MKSTREAM"); again != nil && !isReply(again, "BUSYGROUP") {
		return s.r.sys.error(again)
	}
	now := time.Now()
	s.note(core.Gap{Since: now, Until: now, Reason: "the stream's consumer group was gone and was made anew"})
	return core.Errorf(core.Unavailable, "redis: the consumer group was gone: %w", err)
}

func (s *streamReader) waitForRoom(ctx context.Context) error {
	for {
		s.mu.Lock()
		n := len(s.entries)
		s.mu.Unlock()
		if n < maxEntries-readEntries {
			return ctx.Err()
		}
		select {
		case <-s.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// readPending hands out what this consumer had read and not acknowledged before.
func (s *streamReader) readPending(ctx context.Context, c *conn) error {
	for last := "0"; ; {
		if err := s.waitForRoom(ctx); err != nil {
			return err
		}
		reply, err := c.do(ctx, answerTimeout, "XREADGROUP", "GROUP", s.cfg.Group, s.cfg.Consumer,
			"COUNT", strconv.Itoa(readEntries), "STREAMS", s.cfg.Key, last)
		if err != nil {
			return err
		}
		id, n, err := s.handle(ctx, entriesOf(reply))
		if err != nil || id == "" {
			return err
		}
		last = id
		s.r.count.redelivered.Add(int64(n))
	}
}

// claim takes over what other consumers have held too long.
func (s *streamReader) claim(ctx context.Context, c *conn) error {
	idle := strconv.FormatInt(s.cfg.ClaimAfter.Milliseconds(), 10)
	for cursor := "0-0"; ; {
		reply, err := c.do(ctx, answerTimeout, "XAUTOCLAIM", s.cfg.Key, s.cfg.Group, s.cfg.Consumer, idle, cursor, "COUNT", strconv.Itoa(readEntries))
		if isReply(err, "ERR unknown command") {
			return nil // before Redis 6.2
		}
		if err != nil {
			return err
		}
		parts, _ := reply.([]any)
		if len(parts) < 2 {
			return errProtocol
		}
		next, _ := parts[0].([]byte)
		entries, _ := parts[1].([]any)
		_, n, err := s.handle(ctx, entries)
		if err != nil {
			return err
		}
		s.r.count.claimed.Add(int64(n))
		if len(parts) > 2 { // since Redis 7: entries that were trimmed before anybody read them again
			gone, _ := parts[2].([]any)
			if n := s.unknown(gone); n > 0 {
				s.lost(n, trimmed)
			}
		}
		if cursor = string(next); cursor == "0-0" || cursor == "" {
			return nil
		}
		if err := s.waitForRoom(ctx); err != nil {
			return err
		}
	}
}

// unknown counts the ids that we have not read.
func (s *streamReader) unknown(ids []any) (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if text, _ := id.([]byte); s.entries[string(text)] == nil {
			n++
		}
	}
	return n
}

const trimmed = "entries were trimmed from the stream before they were delivered"

func entriesOf(reply any) []any {
	streams, _ := reply.([]any)
	if len(streams) == 0 {
		return nil
	}
	one, _ := streams[0].([]any)
	if len(one) < 2 {
		return nil
	}
	entries, _ := one[1].([]any)
	return entries
}

// handle hands entries to the feeds, and returns the last one's id and how many were
// new to us.
func (s *streamReader) handle(ctx context.Context, entries []any) (last string, n int, err error) {
	for _, one := range entries {
		parts, _ := one.([]any)
		if len(parts) < 2 {
			continue
		}
		id, _ := parts[0].([]byte)
		last = string(id)
		fresh, err := s.handleEntry(ctx, last, parts[1])
		if err != nil {
			return last, n, err
		}
		if fresh {
			n++
		}
	}
	return last, n, nil
}

func (s *streamReader) handleEntry(ctx context.Context, id string, content any) (fresh bool, err error) {
	fields, _ := content.([]any)
	e := &entry{reader: s, id: id}
	s.mu.Lock()
	known := s.entries[id] != nil
	s.mu.Unlock()
	if known {
		return false, nil // it is with the host already
	}
	switch {
	case fields == nil:
		s.skip(e)
		s.lost(1, trimmed)
		return false, nil
	case slices.ContainsFunc(fields, func(v any) bool { _, long := v.(oversized); return long }):
		s.r.count.tooLong.Add(1)
		s.skip(e)
		s.lost(1, "an entry was longer than max_message")
		return false, nil
	}
	event := s.event(id, fields)
	if event == nil {
		s.r.count.echoes.Add(1)
		s.skip(e)
		return false, nil
	}
	s.mu.Lock()
	feeds := s.feeds
	e.owners = slices.Clone(feeds)
	s.entries[id] = e
	s.mu.Unlock()
	for _, f := range feeds {
		_ = f.wait(ctx, event, e) // a feed that has ended takes no part any more
		if ctx.Err() != nil {
			return true, ctx.Err()
		}
	}
	return true, nil
}

// skip has an entry acknowledged that is for nobody.
func (s *streamReader) skip(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries[e.id] = e
	s.acks = append(s.acks, e)
}

func (s *streamReader) lost(n int64, reason string) {
	s.r.count.streamLost.Add(n)
	now := time.Now()
	s.note(core.Gap{Since: now, Until: now, Lost: n, Reason: reason})
}

func (s *streamReader) note(g core.Gap) {
	s.mu.Lock()
	feeds := s.feeds
	s.mu.Unlock()
	for _, f := range feeds {
		f.Missed(g)
	}
	if len(feeds) == 0 && !errors.Is(s.r.ctx.Err(), context.Canceled) {
		s.r.log.Warn("entries lost", slog.String("stream", s.cfg.Key), slog.String("reason", g.Reason))
	}
}
