// Package audit writes the audit log: one JSON object a line, appended to a file
// that only the bridge's user can read.
package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	rest "github.com/anybridge/anybridge/adapters/http"
)

// Options are what a Log needs.
type Options struct {
	File string // required
	// MaxSize is how many bytes a file can have before it becomes FILE.1; 16 MiB.
	MaxSize int64
	// Keep is how many such former files are kept; 5.
	Keep int
	// Patience is how long a Write waits for a slow disk; 5 s.
	Patience time.Duration
	// Log gets the entries that could not be written. Required.
	Log *slog.Logger
}

// Log is an open audit log. One goroutine owns the file; what Writes queue for it
// while it writes, it writes at once. Its methods may be called concurrently.
type Log struct {
	o       Options
	queue   chan *batch
	closing chan struct{}
	done    chan struct{}
}

// batch is what one Write brings.
type batch struct {
	text    []byte
	err     error
	written chan struct{} // closed when err is set
}

// maxQueue bounds the Writes that wait for the disk, beside those that wait for
// the queue.
const maxQueue = 256

// Open opens the file, or makes it.
func Open(o Options) (*Log, error) {
	if o.MaxSize == 0 {
		o.MaxSize = 16 << 20
	}
	if o.Keep == 0 {
		o.Keep = 5
	}
	if o.Patience == 0 {
		o.Patience = 5 * time.Second
	}
	f := &file{path: o.File, maxSize: o.MaxSize, keep: o.Keep}
	if err := f.open(); err != nil {
		return nil, fmt.Errorf("open the audit log (audit in the configuration; off is none): %w", err)
	}
	l := &Log{o: o, queue: make(chan *batch, maxQueue), closing: make(chan struct{}), done: make(chan struct{})}
	go l.run(f)
	return l, nil
}

// Write appends the entries. When it returns they are with the operating system,
// so that they outlive the bridge (not a power failure: the disk is not waited
// for). What cannot be written within Patience goes to the bridge's own log, as an
// error: the bridge rather goes on than stands still.
func (l *Log) Write(entries ...rest.AuditEntry) {
	b := &batch{text: encode(entries), written: make(chan struct{})}
	timer := time.NewTimer(l.o.Patience)
	defer timer.Stop()
	err := errors.New("the disk is too slow")
	select {
	case <-l.closing: // before the queue, where nobody might look any more
		err = errClosed
	default:
		select {
		case l.queue <- b:
			err = l.await(b, timer.C)
		case <-l.closing:
			err = errClosed
		case <-timer.C:
		}
	}
	if err != nil {
		l.o.Log.Error("audit entry not written", slog.String("file", l.o.File), slog.String("entry", string(bytes.TrimSpace(b.text))), slog.Any("error", err))
	}
}

var errClosed = errors.New("the audit log is closed")

// await waits until a queued batch is written.
func (l *Log) await(b *batch, late <-chan time.Time) error {
	select {
	case <-b.written:
		return b.err
	case <-late:
		return errors.New("the disk is too slow; it may still come")
	case <-l.done:
	}
	select {
	case <-b.written:
		return b.err
	default:
		return errClosed
	}
}

// Close writes what is queued and closes the file, as long as ctx allows. Entries
// that come later go to the bridge's own log. It is called once.
func (l *Log) Close(ctx context.Context) error {
	close(l.closing)
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run owns the file.
func (l *Log) run(f *file) {
	defer close(l.done)
	for {
		select {
		case b := <-l.queue:
			f.write(l.gather(b))
			continue
		default:
		}
		select {
		case b := <-l.queue:
			f.write(l.gather(b))
		case <-l.closing:
			if batches := l.gather(nil); len(batches) > 0 {
				f.write(batches)
				continue
			}
			if err := f.close(); err != nil {
				l.o.Log.Error("close the audit log", slog.Any("error", err))
			}
			return
		}
	}
}

// gather takes what else is queued.
func (l *Log) gather(first *batch) (batches []*batch) {
	if first != nil {
		batches = append(batches, first)
	}
	for len(batches) < maxQueue {
		select {
		case b := <-l.queue:
			batches = append(batches, b)
		default:
			return batches
		}
	}
	return batches
}

// encode makes a line of each entry.
func encode(entries []rest.AuditEntry) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, entry := range entries {
		_ = e.Encode(entry) // texts and a time, into memory: cannot fail
	}
	return b.Bytes()
}
