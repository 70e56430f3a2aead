package router

import "sync/atomic"

// counters count since New. Gauges are computed when they are asked for.
type counters struct {
	messagesIn         atomic.Int64
	messagesOut        atomic.Int64
	slowDisconnected   atomic.Int64
	silentDisconnected atomic.Int64
	violations         atomic.Int64
	ignored            atomic.Int64
	refused            atomic.Int64
	eventsDropped      atomic.Int64
	undeliverable      atomic.Int64
	callsCanceled      atomic.Int64
	authFailures       atomic.Int64
	sessionsOpened     atomic.Int64
	sessionsRefused    atomic.Int64
	sessionsRevoked    atomic.Int64
	retainedEvicted    atomic.Int64
	acceptErrors       atomic.Int64
}

// Counters returns what happened since New; names that end in "_now" are gauges.
// slow_subscribers_disconnected counts sessions that did not take what was sent to
// them; messages_undeliverable counts messages that could not be put into a
// recipient's serialisation or were longer than it accepts. events_dropped stays 0:
// it counts what nexus says it has dropped.
func (r *Router) Counters() map[string]int64 {
	c := &r.counters
	var sessions, retained, retainedBytes int64
	for _, re := range r.realmList() {
		n := re.size()
		events, bytes := re.retained.size()
		sessions, retained, retainedBytes = sessions+int64(n), retained+int64(events), retainedBytes+int64(bytes)
	}
	return map[string]int64{
		"sessions_now":                  sessions,
		"connections_now":               r.connections.Load(),
		"retained_now":                  retained,
		"retained_bytes_now":            retainedBytes,
		"messages_in":                   c.messagesIn.Load(),
		"messages_out":                  c.messagesOut.Load(),
		"messages_ignored":              c.ignored.Load(),
		"messages_refused":              c.refused.Load(),
		"messages_undeliverable":        c.undeliverable.Load(),
		"events_dropped":                c.eventsDropped.Load(),
		"slow_subscribers_disconnected": c.slowDisconnected.Load(),
		"silent_peers_disconnected":     c.silentDisconnected.Load(),
		"protocol_violations":           c.violations.Load(),
		"calls_canceled":                c.callsCanceled.Load(),
		"auth_failures":                 c.authFailures.Load(),
		"sessions_opened":               c.sessionsOpened.Load(),
		"sessions_refused":              c.sessionsRefused.Load(),
		"sessions_revoked":              c.sessionsRevoked.Load(),
		"retained_evicted":              c.retainedEvicted.Load(),
		"accept_errors":                 c.acceptErrors.Load(),
	}
}
