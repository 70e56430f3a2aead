package router

import "sync"

const (
	// coalesce is how much is written at once; a writer takes a buffer that big only
	// for as long as it has something to write.
	coalesce = 64 << 10
	// bigFrame is the length from which a shared frame is written by itself rather
	// than copied behind others.
	bigFrame = 16 << 10
)

// pools hold buffers that all sessions of a router share.
type pools struct{ reads, writes sync.Pool }

func (p *pools) scratch() *[4096]byte {
	if b, ok := p.reads.Get().(*[4096]byte); ok {
		return b
	}
	return new([4096]byte)
}

func (p *pools) buffer() *[]byte {
	if b, ok := p.writes.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, coalesce+4096)
	return &b
}

// release takes a buffer back, unless a long message has made it too big to keep.
func (p *pools) release(b *[]byte) {
	if cap(*b) > 4*coalesce {
		return
	}
	*b = (*b)[:0]
	p.writes.Put(b)
}
