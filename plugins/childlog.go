package plugins

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Bounds of what a child's log may make the host hold.
const (
	maxLogLine = 256 << 10
	maxPanic   = mib
	maxDepth   = 100 // of nested attributes; what is deeper is plain text
	lastWords  = 5   // lines
)

var errTooDeep = errors.New("nested too deeply")

// childLog turns what a child writes to stderr into records of the host's log:
// JSON lines of slog or hclog with level, time and attributes intact, other text as
// Info, and a Go panic or fatal error with its whole stack as one Error. It is not
// safe for concurrent use, but for last.
type childLog struct {
	handler slog.Handler

	crash strings.Builder // from the first line of a panic on

	mu   sync.Mutex
	tail []string // the last lines that were plain text
	died string   // the first line of a panic
}

// read logs everything up to the end of r.
func (l *childLog) read(r io.Reader) {
	lines := bufio.NewReaderSize(r, 64<<10)
	var line []byte
	for {
		part, err := lines.ReadSlice('\n')
		if room := maxLogLine - len(line); room > 0 {
			line = append(line, part[:min(room, len(part))]...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			l.line(line)
		}
		line = line[:0]
		if err != nil {
			l.flushCrash()
			return
		}
	}
}

func (l *childLog) line(line []byte) {
	if line[0] == '{' {
		if record, ok := parseRecord(line); ok {
			l.flushCrash()
			l.handle(record)
			return
		}
	}
	s := string(line)
	if l.crash.Len() > 0 || beginsCrash(s) {
		if l.crash.Len() == 0 {
			l.mu.Lock()
			l.died = s
			l.mu.Unlock()
		}
		if l.crash.Len()+len(s) < maxPanic {
			l.crash.WriteString(s)
			l.crash.WriteByte('\n')
		}
		return
	}
	l.mu.Lock()
	l.tail = append(l.tail, s)
	if len(l.tail) > lastWords {
		l.tail = l.tail[1:]
	}
	l.mu.Unlock()
	l.handle(slog.NewRecord(time.Now(), slog.LevelInfo, s, 0))
}

// beginsCrash knows how the Go runtime begins its reports.
func beginsCrash(s string) bool {
	return strings.HasPrefix(s, "panic: ") || strings.HasPrefix(s, "fatal error: ") ||
		strings.HasPrefix(s, "runtime: ") || strings.HasPrefix(s, "unexpected fault address ") ||
		strings.HasPrefix(s, "SIG") && strings.Contains(s, ": ")
}

func (l *childLog) flushCrash() {
	if l.crash.Len() == 0 {
		return
	}
	stack := l.crash.String()
	l.crash.Reset()
	first, _, _ := strings.Cut(stack, "\n")
	record := slog.NewRecord(time.Now(), slog.LevelError, "plugin crashed", 0)
	record.AddAttrs(slog.String("panic", first), slog.String("stack", stack))
	l.handle(record)
}

func (l *childLog) handle(record slog.Record) {
	ctx := context.Background()
	if l.handler.Enabled(ctx, record.Level) {
		_ = l.handler.Handle(ctx, record)
	}
}

// last is what the child said last: how it panicked, or its last lines of text.
func (l *childLog) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.died != "" {
		return l.died
	}
	return strings.Join(l.tail, "\n")
}

// parseRecord reads a line of slog's JSONHandler or of hclog. Attributes keep their
// order; numbers stay exact.
func parseRecord(line []byte) (slog.Record, bool) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return slog.Record{}, false
	}
	attrs, err := parseAttrs(d, maxDepth)
	if err != nil {
		return slog.Record{}, false
	}
	var level slog.Level
	var message string
	at := time.Now()
	var haveLevel, haveMessage, haveTime bool
	rest := attrs[:0]
	for _, a := range attrs {
		s := a.Value.String()
		switch {
		case !haveLevel && (a.Key == slog.LevelKey || a.Key == "@level"):
			level, haveLevel = parseLevel(s)
		case !haveMessage && (a.Key == slog.MessageKey || a.Key == "@message"):
			message, haveMessage = s, true
		case !haveTime && (a.Key == slog.TimeKey || a.Key == "@timestamp"):
			if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
				at = t
			}
			haveTime = true
		default:
			rest = append(rest, a)
		}
	}
	record := slog.NewRecord(at, level, message, 0)
	record.AddAttrs(rest...)
	return record, haveLevel && haveMessage
}

func parseLevel(s string) (level slog.Level, ok bool) {
	if strings.EqualFold(s, "trace") { // hclog's
		return slog.LevelDebug - 4, true
	}
	return level, level.UnmarshalText([]byte(s)) == nil
}

// parseAttrs reads the members of an object up to its end.
func parseAttrs(d *json.Decoder, depth int) ([]slog.Attr, error) {
	var attrs []slog.Attr
	for {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, ok := token.(string)
		if !ok { // the closing brace
			return attrs, nil
		}
		value, err := parseValue(d, depth)
		if err != nil {
			return nil, err
		}
		attrs = append(attrs, slog.Attr{Key: key, Value: value})
	}
}

func parseValue(d *json.Decoder, depth int) (slog.Value, error) {
	token, err := d.Token()
	if err != nil {
		return slog.Value{}, err
	}
	if depth == 0 {
		return slog.Value{}, errTooDeep
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '{' {
			attrs, err := parseAttrs(d, depth-1)
			return slog.GroupValue(attrs...), err
		}
		var list []any
		for d.More() {
			v, err := parseValue(d, depth-1)
			if err != nil {
				return slog.Value{}, err
			}
			list = append(list, plain(v))
		}
		_, err := d.Token() // the closing bracket
		return slog.AnyValue(list), err
	case json.Number:
		if n, err := t.Int64(); err == nil {
			return slog.Int64Value(n), nil
		}
		f, err := t.Float64()
		return slog.Float64Value(f), err
	default:
		return slog.AnyValue(t), nil
	}
}

// plain is an element of a list in a form that every handler can print.
func plain(v slog.Value) any {
	if v.Kind() != slog.KindGroup {
		return v.Any()
	}
	m := map[string]any{}
	for _, a := range v.Group() {
		m[a.Key] = plain(a.Value)
	}
	return m
}
