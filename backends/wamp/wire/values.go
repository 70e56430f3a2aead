package wire

import (
	"math"
	"math/big"

	"github.com/gammazero/nexus/v3/wamp"
)

// A builder is the sink that makes Go values: nil, bool, int64, uint64 or *big.Int
// (the first that fits), float64, string, []byte, wamp.List and wamp.Dict. Of
// duplicate keys the last one wins.
type builder struct {
	root  any
	stack []level
	room  [2]level // the stack's first home: options are shallow
}

type level struct {
	list wamp.List
	dict wamp.Dict // nil in a list
	key  string
}

func (b *builder) put(v any) {
	if len(b.stack) == 0 {
		b.root = v
		return
	}
	top := &b.stack[len(b.stack)-1]
	if top.dict != nil {
		top.dict[top.key] = v
	} else {
		top.list = append(top.list, v)
	}
}

func (b *builder) null()          { b.put(nil) }
func (b *builder) boolean(v bool) { b.put(v) }

func (b *builder) integer(neg bool, n uint64) {
	switch {
	case !neg && n <= math.MaxInt64:
		b.put(int64(n))
	case !neg:
		b.put(n)
	case n <= math.MaxInt64:
		b.put(^int64(n))
	default:
		v := new(big.Int).SetUint64(n)
		b.put(v.Not(v))
	}
}

func (b *builder) decimal(digits []byte) {
	if len(digits) <= maxBignumDigits {
		if v, ok := new(big.Int).SetString(string(digits), 10); ok {
			b.put(v)
			return
		}
	}
	b.put(string(digits))
}

func (b *builder) float(f float64)    { b.put(f) }
func (b *builder) text(s []byte)      { b.put(known(s)) }
func (b *builder) binary(data []byte) { b.put(append([]byte{}, data...)) }

func (b *builder) openList(int) int {
	b.push(level{list: wamp.List{}})
	return 0
}

func (b *builder) openMap(int) int {
	b.push(level{dict: wamp.Dict{}})
	return 0
}

func (b *builder) push(l level) {
	if b.stack == nil {
		b.stack = b.room[:0]
	}
	b.stack = append(b.stack, l)
}

func (b *builder) pop() level {
	top := b.stack[len(b.stack)-1]
	b.stack = b.stack[:len(b.stack)-1]
	return top
}

func (b *builder) closeList(int, int) { b.put(b.pop().list) }
func (b *builder) closeMap(int, int)  { b.put(b.pop().dict) }

func (b *builder) key(s []byte) { b.stack[len(b.stack)-1].key = known(s) }

// known returns s as a string, without allocating for the words that nearly every
// options dictionary consists of.
func known(s []byte) string {
	switch string(s) {
	case "acknowledge":
		return "acknowledge"
	case "disclose_me":
		return "disclose_me"
	case "exclude_me":
		return "exclude_me"
	case "match":
		return "match"
	case "exact":
		return "exact"
	case "prefix":
		return "prefix"
	case "wildcard":
		return "wildcard"
	case "invoke":
		return "invoke"
	case "mode":
		return "mode"
	case "procedure":
		return "procedure"
	case "progress":
		return "progress"
	case "publisher":
		return "publisher"
	case "receive_progress":
		return "receive_progress"
	case "timeout":
		return "timeout"
	case "topic":
		return "topic"
	}
	return string(s)
}
