package irc

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/anybridge/anybridge/core"
)

// viaTag is the client-only tag that carries Event.Via.
const viaTag = "+anybridge.github.io/via"

// maxLines bounds what one event may become, and maxPayload, in bytes, what is looked
// at for it.
const (
	maxLines   = 200
	maxPayload = 4 << 20
)

// message is an event as it goes out.
type message struct {
	kind   string // PRIVMSG or NOTICE
	action bool
	lines  []string
}

func (m message) size() (n int) {
	for _, l := range m.lines {
		n += len(l)
	}
	return n
}

// compose turns a payload into text: its common text form, or what kwargs say with
// {"text": …, "action": true, "notice": true}.
func compose(p core.Payload) (message, error) {
	m := message{kind: "PRIVMSG"}
	if p.Size() > maxPayload {
		return m, core.Errorf(core.TooLarge, "a payload of %d bytes: IRC carries short texts", p.Size())
	}
	text := p.Text()
	var spoken map[string]json.RawMessage
	if len(p.Args) == 0 || string(p.Args) == "[]" {
		_ = json.Unmarshal(p.Kwargs, &spoken) // it is valid, or absent
	}
	var say struct {
		Text   string `json:"text"`
		Action bool   `json:"action"`
		Notice bool   `json:"notice"`
	}
	if _, ok := spoken["text"]; ok && onlyKeys(spoken, "text", "action", "notice") && json.Unmarshal(p.Kwargs, &say) == nil {
		text, m.action = say.Text, say.Action
		if say.Notice && !say.Action {
			m.kind = "NOTICE"
		}
	}
	if m.lines = lines(text); len(m.lines) == 0 {
		return m, core.Errorf(core.InvalidArgument, "there is no text in it: IRC has no empty messages")
	}
	return m, nil
}

func onlyKeys(object map[string]json.RawMessage, keys ...string) bool {
	known := 0
	for _, key := range keys {
		if _, ok := object[key]; ok {
			known++
		}
	}
	return known == len(object)
}

// fit splits a message's lines so that none is cut off by the server, which puts our
// source in front.
func (c *conn) fit(m message, to string) []string {
	limit := c.is.lineLen - len(": ") - c.sourceLen() - len(m.kind+"  :\r\n") - len(to)
	if m.action {
		limit -= len("\x01ACTION \x01")
	}
	var out []string
	for _, l := range m.lines {
		for _, piece := range split(l, max(limit, 32)) {
			if m.action {
				piece = "\x01ACTION " + piece + "\x01"
			}
			out = append(out, piece)
		}
	}
	return out
}

// publish sends an event and waits until the server has taken all of it.
func (s *session) publish(ctx context.Context, e *core.Event) error {
	m, err := compose(e.Payload)
	if err != nil {
		return err
	}
	s.mu.Lock()
	c, to, err := s.reach(ctx, e.Topic.Name)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	j, err := c.queue(ctx, m, to, e.Via)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		return s.giveUp(ctx, c, j)
	}
	if j.err == nil && j.id != "" {
		e.ID = j.id
	}
	return j.err
}

// reach waits until the target can be written to: a channel must be joined. s.mu is
// held, but not while it waits.
func (s *session) reach(ctx context.Context, name string) (*conn, string, error) {
	for {
		c := s.conn
		if c == nil || s.closed {
			return nil, "", s.link.Unavailable()
		}
		if err := validTarget(name, c.is.chanTypes); err != nil {
			return nil, "", err
		}
		if !isChannel(name, c.is.chanTypes) {
			if len(name) > c.is.nickLen {
				return nil, "", core.Errorf(core.InvalidArgument, "nick %q has more than %d bytes", name, c.is.nickLen)
			}
			return c, name, nil
		}
		ch, err := c.channelToPublish(name)
		if err != nil {
			return nil, "", err
		}
		switch {
		case ch.state == chanJoined:
			return c, ch.name, nil
		case ch.state == chanAway && ch.err != nil:
			return nil, "", ch.err
		}
		moved, changed := ch.moved, s.changed
		s.mu.Unlock()
		select {
		case <-moved:
		case <-changed:
		case <-ctx.Done():
			s.mu.Lock()
			return nil, "", ctx.Err()
		}
		s.mu.Lock()
		if ch.state == chanAway && ch.err != nil { // it may be forgotten by now
			return nil, "", ch.err
		}
	}
}

// queue puts a message into the send queue if it can be sent before ctx ends.
func (c *conn) queue(ctx context.Context, m message, to, via string) (*job, error) {
	now := time.Now()
	flood := c.s.cfg.Flood
	most := min(maxLines, flood.Queue)
	var texts []string
	if m.size() <= most*c.is.lineLen { // otherwise it is not worth splitting
		texts = c.fit(m, to)
	}
	if len(texts) == 0 || len(texts) > most {
		return nil, core.Errorf(core.TooLarge, "too much text for one event, which may become %d lines", most)
	}
	wait := c.out.bucket.wait(c.out.queued+len(texts), now)
	deadline, ok := ctx.Deadline()
	switch {
	case c.out.queued+len(texts) > flood.Queue:
		return nil, tooMany(c.out.bucket.wait(c.out.queued+len(texts)-flood.Queue, now), "the send queue is full: %d lines wait", c.out.queued)
	case ok && now.Add(wait).After(deadline):
		return nil, tooMany(wait-deadline.Sub(now), "%d lines wait, which takes %s: longer than the publish may take", c.out.queued, wait.Round(time.Second))
	}
	j := &job{
		target: c.is.casemapping.fold(to), to: to, kind: m.kind, texts: texts, total: len(texts),
		done: make(chan struct{}),
	}
	if validID(via) {
		j.via = via
	}
	c.enqueue(j)
	return j, nil
}

func tooMany(after time.Duration, format string, args ...any) *core.Error {
	e := core.Errorf(core.TooMany, format, args...)
	e.RetryAfter = max(after, time.Second)
	return e
}

// giveUp takes back what is not sent yet of a job whose publisher waits no longer.
func (s *session) giveUp(ctx context.Context, c *conn, j *job) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.over {
		return j.err
	}
	c.drop(j)
	cause := core.AsError(ctx.Err())
	if j.sent == 0 {
		j.finish(core.Errorf(cause.Code, "%w; nothing was sent", errors.New(cause.Message)))
	} else {
		j.finish(core.Errorf(cause.Code, "%w; %d of %d lines were sent", errors.New(cause.Message), j.sent, j.total))
	}
	return j.err
}
