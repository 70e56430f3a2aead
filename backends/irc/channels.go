package irc

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/ergochat/irc-go/ircmsg"

	"github.com/anybridge/anybridge/core"
)

type chanState int

const (
	chanAway chanState = iota
	chanJoining
	chanJoined
)

// channel is a channel that we are in, or want to be in. The session's mu guards it.
type channel struct {
	name       string // as it was configured, subscribed or published to first
	key        string
	configured bool
	refs       int       // exact subscriptions
	published  bool      // joined because somebody published to it
	usedAt     time.Time // when somebody published to it last

	state   chanState
	moved   chan struct{} // closed and replaced when state or err change
	err     *core.Error   // why the server does not let us in
	asked   time.Time     // when JOIN was sent
	retryAt time.Time     // when to try again; zero = when it is wanted next
	fails   int           // refusals in a row
	kicks   int           // kicks since the channel last held us for long
	inSince time.Time
	since   time.Time // since when events may be missing; zero = none are
}

const (
	joinPatience   = 30 * time.Second
	firstJoinPause = 5 * time.Second
	lastJoinPause  = 5 * time.Minute
	calmAfter      = 10 * time.Minute // in a channel: earlier kicks are forgotten
	maxChannels    = 1000             // known at once
	maxPublished   = 50               // joined for publishing alone
)

func (ch *channel) needed() bool { return ch.configured || ch.refs > 0 }
func (ch *channel) wanted() bool { return ch.needed() || ch.published }

func (ch *channel) setState(to chanState) {
	ch.state = to
	ch.signal()
}

func (ch *channel) signal() {
	close(ch.moved)
	ch.moved = make(chan struct{})
}

// merge takes over what another spelling of the same channel was wanted for.
func (ch *channel) merge(o *channel) {
	ch.configured, ch.refs, ch.published = ch.configured || o.configured, ch.refs+o.refs, ch.published || o.published
	if ch.key == "" {
		ch.key = o.key
	}
	o.signal()
}

// channel finds or makes a channel. s.mu is held.
func (s *session) channel(name string) *channel {
	key := s.fold.fold(name)
	ch := s.chans[key]
	if ch == nil {
		ch = &channel{name: name, moved: make(chan struct{})}
		s.chans[key] = ch
	}
	return ch
}

// configureChannels makes the table follow the configuration. s.mu is held, or
// nobody else has s.
func (s *session) configureChannels() {
	for _, ch := range s.chans {
		configured, ok := s.cfg.channel(s.fold, ch.name)
		if ch.configured = ok; ok {
			ch.key = configured.Key
		} else {
			s.release(ch)
		}
	}
	for _, configured := range s.cfg.Channels {
		ch := s.channel(configured.Name)
		ch.configured, ch.key = true, configured.Key
		s.want(ch)
	}
}

// want joins a channel if we are not in it. s.mu is held.
func (s *session) want(ch *channel) {
	if s.conn != nil && ch.state == chanAway && ch.retryAt.IsZero() {
		s.conn.join(ch)
	}
}

// release leaves a channel that nobody wants any more. s.mu is held.
func (s *session) release(ch *channel) {
	if ch.wanted() {
		return
	}
	if s.conn != nil && ch.state != chanAway {
		s.conn.part(ch)
	}
	ch.setState(chanAway)
	delete(s.chans, s.fold.fold(ch.name))
}

// part leaves a channel. Until the server has said so, what it says of the channel is
// about an earlier JOIN.
func (c *conn) part(ch *channel) {
	c.parting[c.s.fold.fold(ch.name)]++
	c.urgent("PART", ch.name)
}

// parted notes the answer to a PART of ours and reports whether it was one.
func (c *conn) parted(name string) bool {
	key := c.s.fold.fold(name)
	n := c.parting[key]
	if n > 1 {
		c.parting[key]--
	} else {
		delete(c.parting, key)
	}
	return n > 0
}

func (c *conn) join(ch *channel) {
	ch.state, ch.asked, ch.retryAt = chanJoining, time.Now(), time.Time{}
	if ch.key != "" {
		c.urgent("JOIN", ch.name, ch.key)
	} else {
		c.urgent("JOIN", ch.name)
	}
}

// joinWanted joins everything after connecting, several channels with one line.
func (c *conn) joinWanted(now time.Time) {
	var names []string
	flush := func() {
		if len(names) > 0 {
			c.urgent("JOIN", strings.Join(names, ","))
		}
		names = names[:0]
	}
	for _, ch := range c.s.chans {
		switch {
		case ch.state != chanAway || !ch.wanted():
		case ch.key != "":
			c.join(ch)
		default:
			ch.state, ch.asked = chanJoining, now
			names = append(names, ch.name)
			if len(names) == c.is.maxTargets || len(strings.Join(names, ","))+maxChannelLen > 480 {
				flush()
			}
		}
	}
	flush()
}

// tickChannels tries again what is due.
func (c *conn) tickChannels(now time.Time) {
	for _, ch := range c.s.chans {
		switch {
		case ch.state == chanJoining && now.Sub(ch.asked) > joinPatience:
			delete(c.parting, c.s.fold.fold(ch.name))
			c.notIn(ch, core.Errorf(core.Unavailable, "the server does not answer JOIN %s", ch.name))
		case ch.state == chanAway && ch.wanted() && !ch.retryAt.IsZero() && now.After(ch.retryAt):
			c.join(ch)
		case ch.state == chanJoined && ch.kicks > 0 && now.Sub(ch.inSince) > calmAfter:
			ch.kicks = 0
		}
	}
}

// joined handles our own JOIN.
func (c *conn) joined(name string) {
	if c.parting[c.s.fold.fold(name)] > 0 {
		return
	}
	if validChannel(name, c.is.chanTypes) != nil || len(c.s.chans) >= maxChannels && c.s.chans[c.s.fold.fold(name)] == nil {
		return
	}
	ch := c.s.channel(name)
	now := time.Now()
	if !ch.since.IsZero() {
		c.s.gapChannel(ch, ch.since, now)
	}
	ch.since, ch.err, ch.fails, ch.inSince, ch.retryAt = time.Time{}, nil, 0, now, time.Time{}
	ch.setState(chanJoined)
}

// left handles a PART or KICK.
func (c *conn) left(nick, name, why string) {
	if !c.isMe(nick) || c.parting[c.s.fold.fold(name)] > 0 {
		return
	}
	ch := c.s.chans[c.s.fold.fold(name)]
	if ch == nil || ch.state != chanJoined { // we have left it ourselves
		return
	}
	now := time.Now()
	ch.since = now
	ch.kicks++
	c.s.counters["kicked"]++
	c.log().Warn("irc: out of a channel", slog.String("channel", ch.name), slog.String("reason", why))
	if !ch.wanted() {
		ch.setState(chanAway)
		delete(c.s.chans, c.s.fold.fold(name))
		return
	}
	pause := c.s.cfg.rejoin()
	e := core.Errorf(core.Unavailable, "not in %s: %s", ch.name, why)
	if pause > 0 {
		pause = min(pause<<min(ch.kicks-1, 8), max(lastJoinPause, pause))
		ch.retryAt, e.RetryAfter = now.Add(pause), pause
	} else {
		e.Code = core.Forbidden
	}
	ch.err = e
	ch.setState(chanAway)
}

// notIn notes that the server does not let us in, and when to ask again.
func (c *conn) notIn(ch *channel, err *core.Error) {
	pause := min(firstJoinPause<<min(ch.fails, 8), lastJoinPause)
	ch.fails++
	ch.err = err
	ch.retryAt = time.Now().Add(pause)
	c.s.counters["joins_refused"]++
	c.log().Warn("irc: channel not joined", slog.String("channel", ch.name), slog.Any("error", err))
	ch.setState(chanAway)
	if !ch.needed() { // only published to: whoever publishes next asks again
		delete(c.s.chans, c.s.fold.fold(ch.name))
	}
}

// handleNumeric handles the refusals of JOIN.
func (c *conn) handleNumeric(msg *ircmsg.Message) {
	if len(msg.Params) < 2 {
		return
	}
	if (msg.Command == "442" || msg.Command == "403") && c.parted(msg.Params[1]) {
		return
	}
	ch := c.s.chans[c.s.fold.fold(msg.Params[1])]
	if ch == nil || ch.state != chanJoining {
		return
	}
	code := core.Forbidden
	switch msg.Command {
	case "403", "476", "479", "448":
		code = core.InvalidArgument
	case "405":
		code = core.TooMany
	case "437", "263", "500", "480":
		code = core.Unavailable
	case "470", "471", "473", "474", "475", "477", "489", "495", "519", "520", "524", "926":
	default:
		return
	}
	c.notIn(ch, core.Errorf(code, "the server does not let us into %s: %s", ch.name, said(msg)))
}

// channelToPublish is the channel to publish to, which is being joined if it must be.
func (c *conn) channelToPublish(name string) (*channel, error) {
	s := c.s
	if len(name) > c.is.channelLen {
		return nil, core.Errorf(core.InvalidArgument, "channel name %q has more than %d bytes", name, c.is.channelLen)
	}
	ch := s.chans[s.fold.fold(name)]
	if ch == nil {
		if !s.cfg.joinOnPublish() {
			return nil, core.Errorf(core.Forbidden, "not in %s: it is neither configured nor subscribed to", name)
		}
		c.makeRoom()
		if len(s.chans) >= maxChannels {
			return nil, tooMany(time.Minute, "in %d channels already", len(s.chans))
		}
		ch = s.channel(name)
	}
	if !ch.needed() && ch.state != chanJoined {
		ch.published = true
	}
	ch.usedAt = time.Now()
	s.want(ch)
	return ch, nil
}

// makeRoom leaves the channel that was published to least recently, of those that
// were joined for nothing else, when there are many.
func (c *conn) makeRoom() {
	var joined []*channel
	for _, ch := range c.s.chans {
		if ch.published && !ch.needed() {
			joined = append(joined, ch)
		}
	}
	if len(joined) < maxPublished {
		return
	}
	oldest := slices.MinFunc(joined, func(a, b *channel) int { return a.usedAt.Compare(b.usedAt) })
	oldest.published = false
	c.s.release(oldest)
}

// troubles says what is not as it should be while connected. s.mu is held.
func (s *session) troubles(c *conn) string {
	var all []string
	if c.nick != s.cfg.Nick {
		all = append(all, fmt.Sprintf("the nick is %s, because %s was not to be had", c.nick, s.cfg.Nick))
	}
	for _, ch := range s.chans {
		if ch.err != nil && ch.needed() {
			all = append(all, ch.err.Message)
		}
	}
	slices.Sort(all)
	const many = 5
	if len(all) > many {
		all = append(all[:many], fmt.Sprintf("and %d more", len(all)-many))
	}
	return strings.Join(all, "; ")
}
