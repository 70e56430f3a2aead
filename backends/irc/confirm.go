package irc

import (
	"strconv"
	"strings"
	"time"

	"github.com/ergochat/irc-go/ircmsg"

	"github.com/anybridge/anybridge/core"
)

// pending is a line that was sent and of which the server has not said yet whether it
// took it.
//
// With labeled-response the answer carries the line's label. With echo-message it is
// the first echo, or the first error, for the same target: servers handle the lines
// of a connection in order. Otherwise, and when an answer fails to come, a PING is
// sent after the line: what was not refused before its PONG was taken.
type pending struct {
	job   *job
	label string
	first bool // the job's first line
	seq   int64
	at    time.Time
}

// pendings are in the order of sending. The session's mu guards them.
type pendings struct {
	list   []*pending
	seq    int64
	ping   string // the PING that is under way, or ""
	upTo   int64  // what it covers
	pinged time.Time
	asked  int64 // upTo of the last PING
}

const (
	confirmPrefix = "anybridge-"
	// confirmEvery is how many lines are sent before the server is asked.
	confirmEvery = 10
	// echoPatience is how long an echo may take before the server is asked.
	echoPatience = 3 * time.Second
)

func (c *conn) labels() bool { return c.caps["labeled-response"] && c.caps["batch"] }

// expect notes that the job's next line is being sent.
func (c *conn) expect(j *job) *pending {
	c.pending.seq++
	p := &pending{job: j, first: j.sent == 0, seq: c.pending.seq, at: time.Now()}
	if c.labels() {
		p.label = strconv.FormatInt(p.seq, 36)
	}
	j.open++
	c.pending.list = append(c.pending.list, p)
	return p
}

// askConfirmation appends a PING to what is being sent, where nothing else tells
// whether the server took it.
func (c *conn) askConfirmation(buffer []byte, now time.Time) []byte {
	n := len(c.pending.list)
	if c.pending.ping != "" || n == 0 || c.labels() || c.caps["echo-message"] {
		return buffer
	}
	if !c.s.cfg.confirm() {
		for len(c.pending.list) > 0 {
			c.resolve(c.pending.list[0], "", nil)
		}
		return buffer
	}
	if c.out.queued > 0 && c.pending.seq-c.pending.asked < confirmEvery {
		return buffer
	}
	c.out.bucket.spend(now)
	return append(buffer, "PING "+c.newPing(now)+"\r\n"...)
}

func (c *conn) newPing(now time.Time) string {
	c.pending.ping = confirmPrefix + strconv.FormatInt(c.pending.seq, 36)
	c.pending.upTo, c.pending.asked, c.pending.pinged = c.pending.seq, c.pending.seq, now
	return c.pending.ping
}

// tickConfirm asks for echoes that fail to come.
func (c *conn) tickConfirm(now time.Time) {
	if c.pending.ping == "" && len(c.pending.list) > 0 && now.Sub(c.pending.list[0].at) > echoPatience {
		c.urgent("PING", c.newPing(now))
	}
}

// confirmed handles a PONG.
func (c *conn) confirmed(token string) {
	if token == "" || token != c.pending.ping {
		return
	}
	c.pending.ping = ""
	for len(c.pending.list) > 0 && c.pending.list[0].seq <= c.pending.upTo {
		c.resolve(c.pending.list[0], "", nil)
	}
	c.wakeUp()
	if len(c.pending.list) > 0 && !c.labels() && !c.caps["echo-message"] && c.out.queued == 0 {
		c.urgent("PING", c.newPing(time.Now()))
	}
}

// echoed handles a message of our own that the server sends back.
func (c *conn) echoed(msg *ircmsg.Message, target string) {
	_, id := msg.GetTag("msgid")
	folded := c.is.casemapping.fold(target)
	p := c.pendingFor(c.label(msg), folded)
	if p != nil && (p.label != "" || c.caps["echo-message"]) {
		c.resolve(p, id, nil)
	}
}

// pendingFor is the line with the label or, without one, the first to the target.
func (c *conn) pendingFor(label, folded string) *pending {
	for _, p := range c.pending.list {
		if label != "" && p.label == label || label == "" && folded != "" && p.job.target == folded {
			return p
		}
	}
	return nil
}

// labelEnded handles the end of an answer that had several messages.
func (c *conn) labelEnded(label string) {
	if p := c.pendingFor(label, ""); p != nil {
		c.resolve(p, "", nil)
	}
}

// handleConfirmation handles answers other than echoes: ACK, FAIL and errors.
func (c *conn) handleConfirmation(msg *ircmsg.Message) {
	label := c.label(msg)
	if label != "" && msg.Command == "ACK" {
		c.labelEnded(label)
		return
	}
	code, refused := refusalCode(msg)
	if !refused {
		return
	}
	target := ""
	if len(msg.Params) > 1 {
		target = c.is.casemapping.fold(msg.Params[1])
	}
	if msg.Command == "FAIL" && len(msg.Params) > 3 {
		target = c.is.casemapping.fold(msg.Params[2])
	}
	if (msg.Command == "412" || msg.Command == "417" || msg.Command == "421") && label == "" && len(c.pending.list) > 0 {
		target = c.pending.list[0].job.target // these name no target
	}
	if p := c.pendingFor(label, target); p != nil {
		c.s.counters["publishes_refused"]++
		e := core.Errorf(code, "the server refused it: %s", said(msg))
		e.URI = "irc." + strings.ToLower(msg.Command)
		if code == core.TooMany {
			e.RetryAfter = 10 * time.Second
		}
		c.resolve(p, "", e)
	}
}

// refusalCode says what an error reply to a message means.
func refusalCode(msg *ircmsg.Message) (core.Code, bool) {
	switch msg.Command {
	case "401", "403", "406", "402":
		return core.NotFound, true
	case "404", "408", "442", "477", "482", "486", "489", "492", "494", "502", "505", "531", "716", "937":
		return core.Forbidden, true
	case "263", "439", "707":
		return core.TooMany, true
	case "407", "411", "412", "413", "414", "461":
		return core.InvalidArgument, true
	case "417":
		return core.TooLarge, true
	case "421":
		return core.Unimplemented, true
	case "FAIL":
		if len(msg.Params) > 1 && (msg.Params[0] == "PRIVMSG" || msg.Params[0] == "NOTICE") {
			return core.Forbidden, true
		}
	}
	return "", false
}

// resolve ends the wait for one line.
func (c *conn) resolve(p *pending, id string, err error) {
	for i, other := range c.pending.list {
		if other == p {
			c.pending.list = append(c.pending.list[:i], c.pending.list[i+1:]...)
			break
		}
	}
	j := p.job
	j.open--
	if p.first && validID(id) {
		j.id = id
	}
	if err != nil {
		c.drop(j)
		j.finish(err)
	} else if j.open == 0 && len(j.texts) == 0 {
		j.finish(nil)
	}
}

// failAll ends every wait when the connection is lost.
func (c *conn) failAll(err *core.Error) {
	for _, p := range c.pending.list {
		p.job.finish(err)
	}
	for _, j := range c.out.jobs {
		if j != nil && j.sent == 0 {
			j.finish(core.Errorf(core.Unavailable, "the connection to the IRC server was lost; nothing was sent"))
		} else if j != nil {
			j.finish(err)
		}
	}
	c.pending.list, c.out.jobs, c.out.queued = nil, nil, 0
}

// validID reports whether a msgid is fit to be an event's id.
func validID(id string) bool {
	const longest = 200
	return id != "" && len(id) <= longest && !hasControl(id)
}
