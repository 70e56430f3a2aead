// Package engine owes things to endpoints: the deliveries of events, and the
// results of asynchronous calls. It queues per endpoint, limits concurrency and
// rate, keeps order where it was asked for, retries on the schedule, and gives up
// after the last attempt.
//
// What is owed lives in memory: it survives a crash of a backend, not of the
// bridge itself. Callers see only the boundary (Deliver, StartCall), which stays
// when the store behind it becomes durable.
package engine
