package redis

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/kit"
)

// subscriber holds all subscriptions to channels on one connection.
type subscriber struct {
	sys     *system
	health  *kit.Link
	echoes  *echoes
	receive func(s *source, feeds []*feed, channel string, message []byte)

	mu       sync.Mutex
	channels map[string]*source
	globs    map[string]*source
	link     *subscribeLink // nil while disconnected
	alive    time.Time      // when the link was last heard
}

// source is a channel or a pattern of channels that Redis knows us to listen to.
type source struct {
	name  string
	glob  bool
	feeds []*feed   // replaced whole
	heard bool      // on the present link
	deaf  time.Time // since when not, after it was; or zero
}

// subscribeLink is the subscriber's present connection.
type subscribeLink struct {
	*conn
	out    *core.Pipe[[]byte] // a few commands; never full
	expect []*order           // of the replies to come; guarded by subscriber.mu
	lost   chan struct{}
}

// order is a command that Redis has not confirmed yet.
type order struct {
	source *source    // nil: only that a reply comes
	done   chan error // has room for one; or nil
}

func newSubscriber(sys *system) *subscriber {
	return &subscriber{
		sys: sys, health: newLink("subscribe", sys.log), echoes: newEchoes(),
		channels: map[string]*source{}, globs: map[string]*source{},
	}
}

// tableLocked returns where sources of the pattern's kind are kept, and its name there.
func (s *subscriber) tableLocked(p core.Pattern) (table map[string]*source, name string) {
	if glob := globOf(p); glob != "" {
		return s.globs, glob
	}
	return s.channels, p.Name
}

// add subscribes the feed and waits for Redis to confirm it.
func (s *subscriber) add(ctx context.Context, f *feed) error {
	s.mu.Lock()
	link := s.link
	if link == nil {
		s.mu.Unlock()
		return s.health.Unavailable()
	}
	table, name := s.tableLocked(f.Pattern())
	src := table[name]
	if src == nil {
		src = &source{name: name, glob: globOf(f.Pattern()) != ""}
		table[name] = src
	}
	src.feeds = append(slices.Clone(src.feeds), f)
	done := make(chan error, 1)
	s.askLocked(link, src, done)
	s.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var err error
	select {
	case err = <-done:
	case <-link.lost:
		err = s.health.Unavailable()
	case <-ctx.Done():
		err = core.AsError(ctx.Err())
	}
	if err != nil {
		s.remove(f)
	}
	return err
}

// askLocked has Redis send us what the source is for. To ask again does no harm.
func (s *subscriber) askLocked(link *subscribeLink, src *source, done chan error) {
	verb := "SUBSCRIBE"
	if src.glob {
		verb = "PSUBSCRIBE"
	}
	link.expect = append(link.expect, &order{source: src, done: done})
	link.out.TryPut(command(nil, verb, src.name), 0)
}

// remove takes the feed out. It does not wait for Redis.
func (s *subscriber) remove(f *feed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	table, name := s.tableLocked(f.Pattern())
	src := table[name]
	if src == nil || !slices.Contains(src.feeds, f) {
		return
	}
	src.feeds = slices.DeleteFunc(slices.Clone(src.feeds), func(o *feed) bool { return o == f })
	if len(src.feeds) > 0 {
		return
	}
	delete(table, name)
	if s.link == nil {
		return
	}
	verb := "UNSUBSCRIBE"
	if src.glob {
		verb = "PUNSUBSCRIBE"
	}
	s.link.expect = append(s.link.expect, &order{})
	s.link.out.TryPut(command(nil, verb, src.name), 0)
}

// listening returns the sources on which a message on the channel comes in.
func (s *subscriber) listening(channel string) (on []*source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == nil {
		return nil
	}
	if src := s.channels[channel]; src != nil {
		on = append(on, src)
	}
	for _, src := range s.globs {
		if slices.ContainsFunc(src.feeds, func(f *feed) bool { return matches(f.Pattern(), channel) }) {
			on = append(on, src)
		}
	}
	return on
}

func matches(p core.Pattern, name string) bool {
	return p.Matches(core.Address{Backend: p.Backend, Name: name})
}

// session serves one connection until it fails or ctx ends.
func (s *subscriber) session(ctx context.Context) error {
	c, err := s.sys.dial(ctx)
	if err != nil {
		return err
	}
	link := &subscribeLink{conn: c, out: core.NewPipe[[]byte](0, 0, nil), lost: make(chan struct{})}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	s.attach(link)
	s.health.Up(slog.String("addr", c.addr))
	var helpers sync.WaitGroup
	helpers.Go(func() { cancel(s.write(ctx, link)) })
	helpers.Go(func() { cancel(probe(ctx, s.sys, c, func() { s.ping(link) })) })
	cancel(s.read(link))
	s.detach(link)
	helpers.Wait()
	err = s.sys.error(context.Cause(ctx))
	if core.CodeOf(err) == core.Canceled {
		err = core.Errorf(core.Unavailable, "the backend is closed")
	}
	return err
}

func (s *subscriber) attach(link *subscribeLink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link, s.alive = link, time.Now()
	for _, table := range []map[string]*source{s.channels, s.globs} {
		for _, src := range table {
			s.askLocked(link, src, nil)
		}
	}
}

func (s *subscriber) detach(link *subscribeLink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link = nil
	close(link.lost)
	for _, table := range []map[string]*source{s.channels, s.globs} {
		for _, src := range table {
			if src.heard {
				src.heard, src.deaf = false, s.alive
			}
		}
	}
	s.echoes.expire(true)
}

func (s *subscriber) write(ctx context.Context, link *subscribeLink) error {
	for {
		commands, err := link.out.Next(ctx)
		if err != nil {
			return context.Cause(ctx)
		}
		for part := range slices.Chunk(commands, 1024) {
			if err := link.send(slices.Concat(part...)); err != nil {
				return err
			}
		}
	}
}

func (s *subscriber) ping(link *subscribeLink) {
	s.mu.Lock()
	link.expect = append(link.expect, &order{})
	link.out.TryPut(pingCommand(), 0)
	s.mu.Unlock()
	s.echoes.expire(false)
}

// read is the one who reads from the link.
func (s *subscriber) read(link *subscribeLink) error {
	for {
		if link.r.Buffered() == 0 {
			now := time.Now()
			s.mu.Lock()
			s.alive = now
			s.mu.Unlock()
			_ = link.SetReadDeadline(now.Add(3 * s.sys.cfg.PingInterval))
		}
		reply, err := link.read(0)
		if err != nil {
			return err
		}
		if !s.handle(link, reply) {
			return errProtocol
		}
	}
}

// handle takes what Redis sent, and reports whether it made sense.
func (s *subscriber) handle(link *subscribeLink, reply any) bool {
	parts, ok := reply.([]any)
	if !ok {
		return s.confirmed(link, reply) // an error, or the answer to a ping
	}
	if len(parts) == 0 {
		return false
	}
	kind, _ := parts[0].([]byte)
	switch {
	case string(kind) == "message" && len(parts) == 3:
		return s.message(s.channels, parts[1], parts[1], parts[2])
	case string(kind) == "pmessage" && len(parts) == 4:
		return s.message(s.globs, parts[1], parts[2], parts[3])
	}
	return s.confirmed(link, nil)
}

func (s *subscriber) message(table map[string]*source, name, channel, message any) bool {
	key, ok1 := name.([]byte)
	on, ok2 := channel.([]byte)
	if !ok1 || !ok2 {
		return true // an absurdly long name is nobody's
	}
	s.mu.Lock()
	src := table[string(key)]
	var feeds []*feed
	if src != nil {
		feeds = src.feeds
	}
	s.mu.Unlock()
	if src == nil {
		return true // it is being unsubscribed
	}
	text, ok := message.([]byte)
	if !ok {
		text = nil
	}
	s.receive(src, feeds, string(on), text)
	return true
}

// confirmed takes the reply to the oldest order.
func (s *subscriber) confirmed(link *subscribeLink, reply any) bool {
	s.mu.Lock()
	if len(link.expect) == 0 {
		s.mu.Unlock()
		return false
	}
	o := link.expect[0]
	link.expect = link.expect[1:]
	src := o.source
	if src == nil {
		s.mu.Unlock()
		return true
	}
	feeds := src.feeds
	refused, failed := reply.(replyError)
	deaf := src.deaf
	if !failed {
		src.heard, src.deaf = true, time.Time{}
	}
	s.mu.Unlock()
	switch {
	case failed && o.done != nil:
		o.done <- s.sys.error(refused)
	case failed: // we may listen here no more
		for _, f := range feeds {
			f.End(s.sys.error(refused))
		}
	default:
		if o.done != nil {
			o.done <- nil
		}
		if !deaf.IsZero() {
			for _, f := range feeds {
				f.Missed(core.Gap{Since: deaf, Until: time.Now(), Reason: "the connection to redis was lost"})
			}
		}
	}
	return true
}
