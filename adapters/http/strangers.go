package rest

import "sync/atomic"

// strangers bounds what requests hold whose token, if they have one, is in the body
// that is still to be read: how many there are, and the memory of those whose body
// is not small. Who sends the token in the header is not concerned.
type strangers struct {
	maxNow, maxBytes int64
	now, bytes       atomic.Int64
}

const (
	smallBody     = 64 << 10  // bytes; every stranger may have that
	strangerBytes = 256 << 20 // for what goes beyond, of all together
)

// stranger is what one such request holds.
type stranger struct {
	counted bool
	bytes   int64
}

// strange counts the request, if its token is not known yet, until known.
func (x *exchange) strange() error {
	if x.token != nil || x.stranger.counted {
		return nil
	}
	s := x.f.strangers
	if s.now.Add(1) > s.maxNow {
		s.now.Add(-1)
		return tooMany("%d requests without a token in the header are being read: %s", s.maxNow, inHeader)
	}
	x.stranger.counted = true
	return nil
}

const inHeader = `send "Authorization: Bearer …" to go before them`

// grow takes the memory of a body that has become that large.
func (x *exchange) grow(size int) error {
	more := int64(size) - smallBody - x.stranger.bytes
	if !x.stranger.counted || more <= 0 {
		return nil
	}
	s := x.f.strangers
	if s.bytes.Add(more) > s.maxBytes {
		s.bytes.Add(-more)
		return tooMany("large bodies without a token in the header are being read: %s", inHeader)
	}
	x.stranger.bytes += more
	return nil
}

// known ends what strange began: the token is known, or the request is over.
func (x *exchange) known() {
	if !x.stranger.counted {
		return
	}
	x.f.strangers.now.Add(-1)
	x.f.strangers.bytes.Add(-x.stranger.bytes)
	x.stranger = stranger{}
}
