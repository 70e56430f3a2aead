package wire

const (
	defaultDepth = 512
	defaultSize  = 16 << 20

	// maxDepth caps what an operator may configure, and is the depth to which an
	// already checked payload is converted: the parsers recurse, at a few hundred
	// bytes of stack a level.
	maxDepth = 10_000
)

// Limits bounds what a peer may send. Zero fields mean the defaults.
type Limits struct {
	// MaxDepth is how many lists and maps may be nested in one element of a
	// message; the message's own list does not count. The default is 512: half of
	// the thousand levels at which common receivers give up (CPython's recursion
	// limit), so that what passes here can be read there. The most is 10,000.
	MaxDepth int
	// MaxSize is the longest frame in bytes. The default is 16 MiB, the most that
	// a RawSocket frame can hold (WAMP specification, "RawSocket Transport").
	MaxSize int
}

func (l Limits) depth() int {
	if l.MaxDepth <= 0 {
		return defaultDepth
	}
	return min(l.MaxDepth, maxDepth)
}

func (l Limits) size() int {
	if l.MaxSize <= 0 {
		return defaultSize
	}
	return l.MaxSize
}
