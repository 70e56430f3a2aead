package rest

import (
	"hash/maphash"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/anybridge/anybridge/core"
)

// guesses makes guessing tokens slow without locking out those who have one. Wrong
// tokens are counted by the address that they come from (an IPv6 /64), in a table
// whose size does not depend on anybody. Where there were too many, a token is
// still looked up if it was right from there before, or if it has the form of the
// bridge's own, whose 160 bits nobody guesses; any other has to wait.
type guesses struct {
	seed  maphash.Seed
	wrong pacing
	slots [guessSlots]guessSlot
	good  [goodSlots]atomic.Uint64 // fingerprints of an address and a token that was right
	told  bucket                   // lines in the audit log
}

const (
	guessSlots = 4096
	goodSlots  = 16384
)

// guessSlot counts the wrong tokens of the addresses that share it.
type guessSlot struct {
	wrong bucket
	told  bucket       // lines in the audit log
	count atomic.Int64 // since the last of these
}

func newGuesses(burst int, every time.Duration) *guesses {
	return &guesses{seed: maphash.MakeSeed(), wrong: pacing{pace: every, burst: int64(burst)}}
}

// origin hashes the address of a RemoteAddr.
func (g *guesses) origin(remote string) uint64 {
	host := remoteHost(remote)
	if strings.Contains(host, ":") {
		if a, err := netip.ParseAddr(host); err == nil {
			b := a.As16()
			return maphash.Bytes(g.seed, b[:8])
		}
	}
	return maphash.String(g.seed, host)
}

// remoteHost is the address in a RemoteAddr, without the port.
func remoteHost(remote string) string {
	if i := strings.LastIndexByte(remote, ':'); i >= 0 {
		remote = remote[:i]
	}
	return strings.TrimSuffix(strings.TrimPrefix(remote, "["), "]")
}

func (g *guesses) slot(origin uint64) *guessSlot { return &g.slots[origin%guessSlots] }

// fingerprint stands for a token that comes from somewhere.
func (g *guesses) fingerprint(origin uint64, text string) uint64 {
	const mix = 0x9e3779b97f4a7c15
	return maphash.String(g.seed, text) ^ (origin * mix)
}

// wait is how long a token has to wait before it is looked up; 0: not at all. What
// is not looked up anyway is no guess.
func (g *guesses) wait(origin uint64, text string, clock func() int64) time.Duration {
	s := g.slot(origin)
	if s.wrong.full.Load() == 0 {
		return 0
	}
	wait := s.wrong.wait(clock(), g.wrong)
	if wait == 0 || text == "" || strings.HasPrefix(text, core.TokenPrefix) {
		return 0
	}
	if fp := g.fingerprint(origin, text); g.good[fp%goodSlots].Load() == fp {
		return 0
	}
	return wait
}

// right remembers where a right token came from. Those with the form of the
// bridge's own need not be remembered.
func (g *guesses) right(origin uint64, text string) {
	if strings.HasPrefix(text, core.TokenPrefix) {
		return
	}
	fp := g.fingerprint(origin, text)
	if known := &g.good[fp%goodSlots]; known.Load() != fp {
		known.Store(fp)
	}
}

// tooManyGuesses is the answer to a wrong token, and to one that was not looked up,
// where there were too many.
func tooManyGuesses(wait time.Duration) error {
	e := core.Errorf(core.TooMany, "too many wrong tokens came from this address")
	e.RetryAfter = wait
	return e
}

// tell reports whether a wrong token is worth a line in the audit log, and for how
// many it stands: one a minute from one address, and one in ten seconds in all.
func (g *guesses) tell(s *guessSlot, now int64) (count int64, ok bool) {
	s.count.Add(1)
	if s.told.wait(now, pacing{time.Minute, 1}) > 0 {
		return 0, false
	}
	if _, _, ok := g.told.take(now, pacing{10 * time.Second, 60}); !ok {
		return 0, false
	}
	s.told.take(now, pacing{time.Minute, 1})
	return s.count.Swap(0), true
}
