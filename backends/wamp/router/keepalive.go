package router

import "time"

// keepAlive pings a peer that has been silent for an interval, and disconnects one
// that has been silent for two. Peers that cannot be pinged are left to TCP.
func (s *session) keepAlive(now time.Time) {
	if s.link == nil {
		return
	}
	ping := s.link.ping()
	if ping == nil {
		return
	}
	interval := time.Duration(s.limits.PingInterval)
	heard := time.Unix(0, s.link.socket().heard.Load())
	switch {
	case now.Sub(heard) < interval:
	case !s.pinged.After(heard):
		s.pinged = now
		s.box.mu.Lock()
		s.box.add(item{msg: control(ping), size: messageOverhead})
		s.box.nudge()
		s.checkOverflow()
		s.box.mu.Unlock()
	case now.Sub(s.pinged) >= interval:
		s.fail(causeSilent, "no answer to a ping")
	}
}
