package irc

import (
	"context"
	"slices"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/kit"
)

// subscribe adds a subscription. That of a channel returns when the channel is
// joined.
func (s *session) subscribe(ctx context.Context, p core.Pattern) (core.Stream[*core.Event], error) {
	exact := p.Match == core.Exact || p.Match == ""
	s.mu.Lock()
	chanTypes := defaultChanTypes
	if s.conn != nil {
		chanTypes = s.conn.is.chanTypes
	}
	if exact && p.Name != privateTopic {
		if err := validTarget(p.Name, chanTypes); err != nil {
			s.mu.Unlock()
			return nil, err
		}
	}
	sub := &subscription{pattern: p, folded: s.fold.fold(p.Name)}
	sub.Feed = kit.NewFeed(p, s.cfg.MaxQueuedEvents, maxQueuedBytes, &s.feeds, func() { s.unsubscribe(sub) })
	inChannel := exact && isChannel(p.Name, chanTypes)
	if s.closed || inChannel && s.conn == nil {
		err := s.link.Unavailable()
		s.mu.Unlock()
		return nil, err
	}
	s.subs = append(s.subs, sub)
	if inChannel {
		s.channel(p.Name).refs++
	}
	s.mu.Unlock()
	if inChannel {
		if err := s.enter(ctx, p.Name); err != nil {
			_ = sub.Close()
			return nil, err
		}
	}
	return sub, nil
}

// enter waits until a channel is joined.
func (s *session) enter(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ch := s.chans[s.fold.fold(name)]; ch != nil && ch.state == chanAway {
		ch.fails = 0
		if s.conn != nil {
			s.conn.join(ch) // also if it was refused a moment ago: somebody asks now
		}
	}
	for {
		ch := s.chans[s.fold.fold(name)]
		switch {
		case s.conn == nil || s.closed || ch == nil:
			return s.link.Unavailable()
		case ch.state == chanJoined:
			return nil
		case ch.state == chanAway && ch.err != nil:
			return ch.err
		}
		moved, changed := ch.moved, s.changed
		s.mu.Unlock()
		select {
		case <-moved:
		case <-changed:
		case <-ctx.Done():
			s.mu.Lock()
			return ctx.Err()
		}
		s.mu.Lock()
	}
}

// unsubscribe forgets a subscription and leaves the channel if it was the last one.
func (s *session) unsubscribe(sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.subs, sub)
	if i < 0 {
		return
	}
	s.subs = slices.Delete(s.subs, i, i+1)
	if sub.pattern.Match == core.Prefix || sub.pattern.Match == core.Wildcard {
		return
	}
	if ch := s.chans[sub.folded]; ch != nil && ch.refs > 0 && sub.pattern.Name != privateTopic {
		ch.refs--
		s.release(ch)
	}
}
