package wire

import (
	"errors"
	"strconv"
	"strings"

	"github.com/gammazero/nexus/v3/wamp"
)

// What an [Error] may wrap.
var (
	// ErrTooDeep says that lists and maps are nested beyond Limits.MaxDepth.
	ErrTooDeep = errors.New("nested too deeply")
	// ErrTooLarge says that a frame or value is longer than Limits.MaxSize.
	ErrTooLarge = errors.New("too large")
)

// Error says what is wrong with bytes that were to be read, and where.
type Error struct {
	// Serialization is what the bytes were read as.
	Serialization Serialization
	// Type is the type of the message, 0 if it is not known (yet) or if the bytes
	// are a single value.
	Type wamp.MessageType
	// Field is the name of the message element, e.g. "Options"; empty outside of one.
	Field string
	// Index is the position of the element in the message list; 0 is the type.
	Index int
	// Offset is where in the bytes the problem is.
	Offset int
	// Reason is what is wrong, e.g. "want a map, have a string".
	Reason string

	cause error
}

// Error names the place first, e.g.
// "read json: CALL.Options (element 2) at byte 7: want a map, have a list".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("read ")
	b.WriteString(e.Serialization.String())
	b.WriteString(": ")
	if e.Field != "" {
		if e.Type != 0 {
			b.WriteString(e.Type.String())
			b.WriteByte('.')
		}
		b.WriteString(e.Field)
		b.WriteString(" (element ")
		b.WriteString(strconv.Itoa(e.Index))
		b.WriteString(") ")
	} else if e.Type != 0 {
		b.WriteString(e.Type.String())
		b.WriteByte(' ')
	}
	b.WriteString("at byte ")
	b.WriteString(strconv.Itoa(e.Offset))
	b.WriteString(": ")
	b.WriteString(e.Reason)
	return b.String()
}

// Unwrap returns ErrTooDeep, ErrTooLarge or nil.
func (e *Error) Unwrap() error { return e.cause }

func tooLarge(s Serialization, size, most int) *Error {
	return &Error{
		Serialization: s, cause: ErrTooLarge,
		Reason: ErrTooLarge.Error() + ": " + strconv.Itoa(size) + " bytes, more than " + strconv.Itoa(most),
	}
}
