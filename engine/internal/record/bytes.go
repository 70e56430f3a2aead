// Package record is how the engine writes down what it owes. A record begins with
// a byte for its form; inside, numbers are varints and texts are preceded by their
// length. Decoding never panics, and never allocates more than a small multiple of
// what it was given.
package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// ErrMalformed is the error of bytes that are not a record.
var ErrMalformed = errors.New("malformed record")

func appendText[T ~string | ~[]byte](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// appendTime writes nanoseconds since 1970; 0 stands for the zero time.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(b, 0)
	}
	return binary.AppendVarint(b, t.UnixNano())
}

// reader takes a record apart. After an error it returns zero values.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail() {
	r.err, r.b = ErrMalformed, nil
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

// take returns the next n bytes, which share the record's memory.
func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// bytes returns nil for an empty text.
func (r *reader) bytes() []byte {
	if v := r.take(r.uint()); len(v) > 0 {
		return v
	}
	return nil
}

func (r *reader) text() string { return string(r.take(r.uint())) }

func (r *reader) time() time.Time {
	if v := r.int(); v != 0 {
		return time.Unix(0, v)
	}
	return time.Time{}
}

// count reads how many things follow, of which each takes at least one byte.
func (r *reader) count() int {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}

// done returns the error, also for bytes that are left over.
func (r *reader) done(what string) error {
	if r.err == nil && len(r.b) > 0 {
		r.err = ErrMalformed
	}
	if r.err != nil {
		return fmt.Errorf("read %s: %w", what, r.err)
	}
	return nil
}
