package engine

import "sync"

// mailbox is what others want a lane's goroutine to do, in order. It takes in
// everything at once: the lane itself puts something in when the store refuses a
// write on the spot, and could not wait for room. What is in it is bounded by the
// attempts and the requests under way.
type mailbox struct {
	mu     sync.Mutex
	posts  []func()
	closed bool
	filled chan struct{} // holds a token when there may be something
}

func newMailbox() *mailbox { return &mailbox{filled: make(chan struct{}, 1)} }

// put has f done; false after close.
func (m *mailbox) put(f func()) bool {
	m.mu.Lock()
	open := !m.closed
	if open {
		m.posts = append(m.posts, f)
	}
	m.mu.Unlock()
	if open {
		select {
		case m.filled <- struct{}{}:
		default:
		}
	}
	return open
}

// take returns everything, in order.
func (m *mailbox) take() []func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	posts := m.posts
	m.posts = nil
	return posts
}

// close drops what is in it, and what comes later.
func (m *mailbox) close() {
	m.mu.Lock()
	m.posts, m.closed = nil, true
	m.mu.Unlock()
}
