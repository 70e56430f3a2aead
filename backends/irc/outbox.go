package irc

import (
	"bytes"
	"log/slog"
	"time"

	"github.com/ergochat/irc-go/ircmsg"

	"github.com/anybridge/anybridge/core"
)

// outbox holds the lines that wait to be sent: those that the protocol needs, at
// once, and the others at the server's pace. The session's mu guards it.
type outbox struct {
	bucket bucket
	urgent [][]byte
	jobs   []*job
	queued int // lines of all jobs
}

// maxUrgent bounds the lines that the protocol needs: a server that asks faster than
// it reads is not answered.
const maxUrgent = 512

// maxBurst bounds what is written at once, in bytes.
const maxBurst = 32 << 10

// job is what one publish, or one answer, sends: lines that stay together.
type job struct {
	target string // folded
	kind   string // PRIVMSG or NOTICE
	to     string
	texts  []string // not sent yet
	via    string
	total  int
	sent   int
	open   int // sent but not confirmed

	id   string // of the first line
	err  error
	done chan struct{} // closed when it is over
	over bool
}

func (j *job) finish(err error) {
	if j.over {
		return
	}
	j.over, j.err = true, err
	close(j.done)
}

// urgent sends a line of the protocol. Parameters that would break the line are a bug
// of ours or hostile: such a line is not sent.
func (c *conn) urgent(command string, params ...string) {
	line, err := buildLine(nil, command, params...)
	if err != nil || len(line) > 510 {
		c.log().Warn("irc: line not sent", slog.String("command", command))
		return
	}
	if len(c.out.urgent) >= maxUrgent {
		c.s.counters["hostile_lines"]++
		return
	}
	c.out.urgent = append(c.out.urgent, line)
	c.wakeUp()
}

func (c *conn) wakeUp() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// buildLine makes a line without its end and refuses what would make two of it.
func buildLine(tags map[string]string, command string, params ...string) ([]byte, error) {
	for _, p := range params {
		for i := range len(p) {
			if p[i] == '\r' || p[i] == '\n' || p[i] == 0 {
				return nil, ircmsg.ErrorLineContainsBadChar
			}
		}
	}
	msg := ircmsg.MakeMessage(tags, "", command, params...)
	if command == "PRIVMSG" || command == "NOTICE" {
		msg.ForceTrailing()
	}
	line, err := msg.LineBytes()
	return bytes.TrimSuffix(line, []byte("\r\n")), err
}

// enqueue appends a job. Its caller has seen that there is room.
func (c *conn) enqueue(j *job) {
	c.out.jobs = append(c.out.jobs, j)
	c.out.queued += len(j.texts)
	c.wakeUp()
}

// drop takes a job out of the queue.
func (c *conn) drop(j *job) {
	for i, other := range c.out.jobs {
		if other == j {
			c.out.jobs = append(c.out.jobs[:i], c.out.jobs[i+1:]...)
			c.out.queued -= len(j.texts)
			j.texts = nil
			return
		}
	}
}

// take appends to buffer what may be sent now, and returns how long to wait when
// there is nothing.
func (c *conn) take(buffer []byte, now time.Time) ([]byte, time.Duration) {
	for len(c.out.urgent) > 0 && len(buffer) < maxBurst {
		buffer = append(append(buffer, c.out.urgent[0]...), '\r', '\n')
		c.out.urgent = c.out.urgent[1:]
		c.out.bucket.spend(now)
	}
	for len(c.out.jobs) > 0 && len(buffer) < maxBurst {
		if wait := c.out.bucket.wait(1, now); wait > 0 {
			return buffer, wait
		}
		j := c.out.jobs[0]
		if line, ok := c.next(j); ok {
			c.out.bucket.spend(now)
			buffer = append(append(buffer, line...), '\r', '\n')
			c.s.counters["lines_sent"]++
		}
		if len(c.out.jobs) > 0 && c.out.jobs[0] == j && len(j.texts) == 0 {
			c.out.jobs[0] = nil
			c.out.jobs = c.out.jobs[1:]
		}
		buffer = c.askConfirmation(buffer, now)
	}
	return buffer, tickEvery
}

// next takes the job's next line and notes that it waits for the server's word.
func (c *conn) next(j *job) ([]byte, bool) {
	text := j.texts[0]
	j.texts = j.texts[1:]
	c.out.queued--
	tags := map[string]string{}
	if j.via != "" && c.caps["message-tags"] && c.is.clientTag(viaTag) {
		tags[viaTag] = j.via
	}
	p := c.expect(j)
	if p.label != "" {
		tags["label"] = p.label
	}
	line, err := buildLine(tags, j.kind, j.to, text)
	if err != nil { // lines and validTarget let nothing through that could do this
		c.resolve(p, "", core.Errorf(core.InvalidArgument, "the text cannot be sent"))
		return nil, false
	}
	j.sent++
	return line, true
}
