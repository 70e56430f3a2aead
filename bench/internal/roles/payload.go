package roles

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// payload is what every floor decodes and encodes.
type payload struct {
	Args   []any          `json:"args"`
	Kwargs map[string]any `json:"kwargs,omitempty"`
}

// operands is what a callee of the "add two" procedure reads; the rest of what a
// bridge sends along is ignored as an application would.
type operands struct {
	Args []int64 `json:"args"`
}

func (o operands) sum() (n int64) {
	for _, a := range o.Args {
		n += a
	}
	return n
}

// randomOperands returns two numbers whose sum has ten digits, so that it cannot
// stand in an answer by chance.
func randomOperands(r *rand.Rand) (a, b int64) {
	return 1_000_000_000 + r.Int64N(1_000_000_000), 1_000_000_000 + r.Int64N(1_000_000_000)
}

func newRand(worker int) *rand.Rand { return rand.New(rand.NewPCG(uint64(worker), 1)) }

// stampPrefix marks the time of publication inside an event: a string that a
// reader of raw frames finds whatever the serialisation.
const stampPrefix = "t="

// appendStamp appends the string (without quotes) that readStamp understands.
func appendStamp(b []byte, t time.Time) []byte {
	return strconv.AppendInt(append(b, stampPrefix...), t.UnixNano(), 10)
}

// readStamp finds a stamp anywhere in b. All processes share one clock.
func readStamp(b []byte) (time.Time, bool) {
	const digits = 19 // until the year 2286
	_, rest, found := bytes.Cut(b, []byte(stampPrefix))
	if !found || len(rest) < digits {
		return time.Time{}, false
	}
	ns, err := strconv.ParseInt(string(rest[:digits]), 10, 64)
	return time.Unix(0, ns), err == nil
}

// template is the body of a request with places for what changes: $A and $B
// (numbers to add) and $T (a stamp).
type template []string

func parseTemplate(s string) template {
	var t template
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i+1 >= len(s) {
			return append(t, s)
		}
		t = append(t, s[:i], s[i:i+2])
		s = s[i+2:]
	}
}

func (t template) append(b []byte, x, y int64) []byte {
	for _, part := range t {
		switch part {
		case "$A":
			b = strconv.AppendInt(b, x, 10)
		case "$B":
			b = strconv.AppendInt(b, y, 10)
		case "$T":
			b = appendStamp(b, time.Now())
		default:
			b = append(b, part...)
		}
	}
	return b
}
