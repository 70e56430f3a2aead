package redis

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	goredis "github.com/redis/go-redis/v9"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/plugins/kit"
)

// streamReader is a topic that is a Redis stream. All feeds that cover the topic share
// it: an entry is acknowledged when everybody has taken charge of it.
type streamReader struct {
	r      *running
	cfg    *StreamConfig
	health *kit.Link

	mu      sync.Mutex
	feeds   []*feed           // replaced whole
	backend string            // its name in addresses
	entries map[string]*entry // read, and not acknowledged to Redis yet; by id
	acks    []*entry          // those of entries that were taken, in that order
	room    chan struct{}     // has an element when entries has become shorter
	stop    context.CancelFunc
	done    chan struct{} // closed when the goroutines of the last stop have ended; or nil
	closed  bool
}

// entry is an entry of the stream that we have read.
type entry struct {
	reader *streamReader
	id     string
	owners []*feed // who have not taken charge of it yet
}

const (
	// maxEntries bounds the entries that are read and not acknowledged.
	maxEntries  = 200_000
	readEntries = 128
	ackTick     = 250 * time.Millisecond
)

func newStreamReader(r *running, cfg *StreamConfig) *streamReader {
	return &streamReader{
		r: r, cfg: cfg, health: newLink("stream "+cfg.topic, r.log),
		entries: map[string]*entry{}, room: make(chan struct{}, 1),
	}
}

// publish appends an event to the stream. Its id becomes that of the entry.
func (s *streamReader) publish(ctx context.Context, e *core.Event) error {
	return s.publishBatch(ctx, []*core.Event{e})[0]
}

// publishBatch appends events in their order, in one round trip.
func (s *streamReader) publishBatch(ctx context.Context, events []*core.Event) []error {
	errs := make([]error, len(events))
	var left []*appending
	for i, e := range events {
		args, err := s.appendArgs(e)
		if err == nil && s.r.out.link.Load() == nil {
			err = s.r.out.health.Unavailable() // rather than wait for a dial
		}
		if errs[i] = err; err == nil {
			left = append(left, &appending{event: e, args: args, err: &errs[i]})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	err := s.r.sys.keyed(ctx, s.cfg.Key, func(c goredis.Cmdable) error {
		var err error
		left, err = s.appendAll(ctx, c, left)
		return err
	})
	for _, a := range left {
		*a.err = err
	}
	return errs
}

// appending is an event on its way into the stream.
type appending struct {
	event *core.Event
	args  *goredis.XAddArgs
	err   *error // its outcome
}

// appendAll gives all a try, and returns those that this node has not executed because
// the key is elsewhere, with its error.
func (s *streamReader) appendAll(ctx context.Context, c goredis.Cmdable, all []*appending) (left []*appending, elsewhere error) {
	pipe := c.Pipeline()
	replies := make([]*goredis.StringCmd, len(all))
	for i, a := range all {
		replies[i] = pipe.XAdd(ctx, a.args)
	}
	_, _ = pipe.Exec(ctx) // each reply has its error
	for i, a := range all {
		id, err := replies[i].Result()
		switch {
		case err == nil:
			*a.err = nil
			a.event.ID = s.eventID(id)
			s.r.count.published.Add(1)
		case movedAway(err):
			left, elsewhere = append(left, a), err
		default:
			*a.err = s.r.sys.error(err)
		}
	}
	return left, elsewhere
}

func (s *streamReader) appendArgs(e *core.Event) (*goredis.XAddArgs, error) {
	if err := checkPayload(e.Payload); err != nil {
		return nil, err
	}
	cfg := s.r.cfg.Load()
	fields := s.fields(e, cfg.format(s.cfg.topic))
	size := 0
	values := make([]any, len(fields))
	for i, field := range fields {
		size += len(field)
		values[i] = field
	}
	if size > cfg.MaxMessage {
		return nil, tooLong(size, cfg)
	}
	args := &goredis.XAddArgs{Stream: s.cfg.Key, Values: values}
	if s.cfg.MaxLen > 0 {
		args.MaxLen, args.Approx = s.cfg.MaxLen, true
	}
	return args, nil
}

// fields are an entry's fields and values. from is the consumer group: nothing that one
// of it published comes back to it, also after a restart.
func (s *streamReader) fields(e *core.Event, f Format) []string {
	var out []string
	switch f {
	case FormatText:
		out = append(out, "text", e.Text())
	case FormatJSON:
		if arg := onlyArg(e.Payload); arg != nil {
			out = append(out, "json", string(arg))
		} else {
			out = append(out, "json", e.JSON())
		}
	default:
		switch {
		case e.Args != nil:
			out = append(out, "args", string(e.Args))
		case e.Kwargs == nil:
			out = append(out, "args", "[]") // an entry has at least one field
		}
		if e.Kwargs != nil {
			out = append(out, "kwargs", string(e.Kwargs))
		}
	}
	out = append(out, "from", s.cfg.Group)
	if e.Via != "" {
		out = append(out, "via", e.Via)
	}
	return out
}

func (s *streamReader) eventID(id string) string { return s.cfg.topic + "/" + id }

// event is what an entry means: an envelope if its fields are one's, else a keyword
// argument for each field. It returns nil for our own.
func (s *streamReader) event(id string, fields []any) *core.Event {
	names, values := make([]string, 0, len(fields)/2), map[string]string{}
	for i := 0; i+1 < len(fields); i += 2 {
		name, _ := fields[i].([]byte)
		value, _ := fields[i+1].([]byte)
		key := strings.ToValidUTF8(string(name), "\uFFFD")
		if _, again := values[key]; !again {
			names = append(names, key)
		}
		values[key] = string(value)
	}
	if values["from"] == s.cfg.Group {
		return nil
	}
	e := envelopeOf(names, values)
	return &core.Event{
		ID: s.eventID(id), Topic: core.Address{Backend: s.backend, Name: s.cfg.topic}, Payload: e.payload,
		Time: entryTime(id), Details: e.details(""), Via: e.via,
	}
}

func envelopeOf(names []string, values map[string]string) (e envelope) {
	known, content := true, 0
	for _, name := range names {
		switch name {
		case "args", "kwargs", "json":
			content++
			known = known && validJSON(name, values[name])
		case "text":
			content++
			known = known && utf8.ValidString(values[name])
		case "from", "via":
			known = known && len(values[name]) <= maxHint && utf8.ValidString(values[name])
		default:
			known = false
		}
	}
	_, args := values["args"]
	_, kwargs := values["kwargs"]
	both := args && kwargs && content == 2
	if !known || content != 1 && !both {
		object := []byte{'{'}
		for i, name := range names {
			if i > 0 {
				object = append(object, ',')
			}
			object = append(core.AppendString(object, name), ':')
			object = core.AppendString(object, values[name])
		}
		return envelope{payload: core.Payload{Kwargs: append(object, '}')}}
	}
	e.from, e.via = values["from"], values["via"]
	switch {
	case args || kwargs:
		if args {
			e.payload.Args = json.RawMessage(values["args"])
		}
		if kwargs {
			e.payload.Kwargs = json.RawMessage(values["kwargs"])
		}
	case slices.Contains(names, "json"):
		decoded, _ := FormatJSON.decode([]byte(values["json"]), "")
		e.payload = decoded.payload
	default:
		e.payload.Kwargs = append(core.AppendString([]byte(`{"text":`), values["text"]), '}')
	}
	return e
}

func validJSON(field, text string) bool {
	bracket := map[string]string{"args": "[", "kwargs": "{"}[field]
	return strings.HasPrefix(text, bracket) && utf8.ValidString(text) && !tooDeep([]byte(text)) && json.Valid([]byte(text))
}

// entryTime is the time in an entry's id, if it is one.
func entryTime(id string) time.Time {
	now := time.Now()
	ms, err := time.ParseDuration(strings.SplitN(id, "-", 2)[0] + "ms")
	if t := time.Unix(0, 0).Add(ms); err == nil && t.Before(now) {
		return t
	}
	return now
}
