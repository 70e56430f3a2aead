package redis

import (
	"sync/atomic"

	"github.com/anybridge/anybridge/plugins/kit"
)

// counters are what Status tells beside the state.
type counters struct {
	feeds                                kit.FeedCounts
	published, echoes                    atomic.Int64
	badNames, tooLong                    atomic.Int64
	redelivered, claimed, streamLost     atomic.Int64
	rpcMalformed, rpcExpired, rpcReturns atomic.Int64
	rpcUnknown, rpcOut, rpcIn            atomic.Int64
}

func (c *counters) all() map[string]int64 {
	return map[string]int64{
		"published":                c.published.Load(),
		"received":                 c.feeds.Events.Load(),
		"own_messages_left_out":    c.echoes.Load(),
		"messages_with_bad_name":   c.badNames.Load(),
		"messages_too_long":        c.tooLong.Load(),
		"events_dropped":           c.feeds.Dropped.Load(),
		"gaps":                     c.feeds.Gaps.Load(),
		"stream_entries_again":     c.redelivered.Load(),
		"stream_entries_claimed":   c.claimed.Load(),
		"stream_entries_lost":      c.streamLost.Load(),
		"calls":                    c.rpcOut.Load(),
		"invocations":              c.rpcIn.Load(),
		"requests_malformed":       c.rpcMalformed.Load(),
		"requests_expired":         c.rpcExpired.Load(),
		"requests_put_back":        c.rpcReturns.Load(),
		"answers_nobody_waits_for": c.rpcUnknown.Load(),
	}
}
