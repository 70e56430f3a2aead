package redis

import (
	"context"
	"time"

	"github.com/anybridge/anybridge/core"
)

// subscribe opens a feed. A topic that is a Redis stream is read from there; a pattern
// covers channels and streams.
func (r *running) subscribe(ctx context.Context, p core.Pattern) (core.Stream[*core.Event], error) {
	if err := p.Valid(); err != nil {
		return nil, err
	}
	var streams []*streamReader
	for topic, s := range r.streams {
		if matches(p, topic) {
			streams = append(streams, s)
		}
	}
	onlyStream := globOf(p) == "" && len(streams) > 0
	f := newFeed(p, r.cfg.Load(), &r.count, func(f *feed) {
		r.in.remove(f)
		for _, s := range streams {
			s.remove(f)
		}
	})
	f.confirms = len(streams) > 0
	var err error
	if !onlyStream {
		err = r.in.add(ctx, f)
	}
	for _, s := range streams {
		if err == nil {
			err = s.add(ctx, f)
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	if !f.confirms {
		return channelFeed{f}, nil
	}
	return f, nil
}

// received takes a message that came on a channel; nil is one that was too long.
func (r *running) received(s *source, feeds []*feed, channel string, message []byte) {
	if len(feeds) == 0 {
		return
	}
	now := time.Now()
	topic := core.Address{Backend: feeds[0].Pattern().Backend, Name: channel}
	if topic.Valid() != nil {
		r.count.badNames.Add(1)
		return
	}
	if r.streams[channel] != nil && s.glob {
		return // the topic is a stream: what is on the channel of that name is not it
	}
	if message == nil {
		r.count.tooLong.Add(1)
		for _, f := range feeds {
			if matches(f.Pattern(), channel) {
				f.Missed(core.Gap{Since: now, Until: now, Lost: 1, Reason: "a message was longer than max_message"})
			}
		}
		return
	}
	cfg := r.cfg.Load()
	e, encoding := cfg.format(channel).decode(message, cfg.Binary)
	if e.from == r.id || r.in.echoes.take(s, channel, message) {
		r.count.echoes.Add(1)
		return
	}
	event := &core.Event{
		ID: r.nextID(), Topic: topic, Payload: e.payload, Time: now, Details: e.details(encoding), Via: e.via,
	}
	for _, f := range feeds {
		if matches(f.Pattern(), channel) {
			f.Put(event)
		}
	}
}

// close ends every feed.
func (s *subscriber) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, table := range []map[string]*source{s.channels, s.globs} {
		for _, src := range table {
			for _, f := range src.feeds {
				f.End(nil)
			}
		}
	}
}
