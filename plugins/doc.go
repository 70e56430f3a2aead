// Package plugins runs backends as processes of their own: Serve is for their
// authors, Launch for the bridge. Built-in backends take the same path as
// everybody else's.
//
// # Writing a backend
//
// A backend is a Go program whose main hands a core.Backend to Serve:
//
//	package main
//
//	func main() {
//		plugins.Serve(func(env plugins.Env) core.Backend { return &mqtt{log: env.Log} })
//	}
//
// Build it, and name it in the configuration:
//
//	backends:
//	  mqtt:
//	    plugin: ./anybridge-mqtt
//	    sha256: …              # optional: refuse any other file
//	    config: {broker: "tcp://127.0.0.1:1883"}
//
// examples/plugin-echo is a complete backend to copy from. What the contract asks
// for, the comments of core.Backend say; what running in a process adds to it,
// stands here.
//
// Errors. Return *core.Error (core.Errorf makes one): its code tells the one who
// asked what to do, and it crosses with URI, args, kwargs and RetryAfter. Any
// other error arrives as Internal with its text, a context's error as Timeout or
// Canceled.
//
// Publish. The event must not come back on the backend's own subscriptions. The
// bridge keeps to itself who published it (Event.Origin, Event.ExcludeMe); ID and
// Withheld are what Publish may change.
//
// Payloads are raw JSON, passed on byte for byte. Nobody checks them on the way,
// so make only valid JSON. An event, call, result or invocation may have 16 MiB
// unless the operator says otherwise: larger calls and results are answered with
// too_large, a larger event is lost with an error in the log.
//
// Concurrency. Each call and each publish runs on a goroutine of its own; up to
// 16384 of each at once, the next is refused with too_many_requests. The context
// of a call ends when its caller gives up or its deadline passes. Return soon
// then.
//
// Streams. Serve reads what Subscribe and Register return as fast as the bridge
// takes it, for each feed separately, and no faster: let a full core.Pipe slow its
// source down (Put), or drop (TryPut) where the system cannot be slowed down. When
// Next is not called for a while, somebody is slow.
//
// Invocations. Close Canceled when the caller is gone: Serve then answers the
// invocation itself (Reply, with Canceled) and tells the bridge.
//
// Panics in a method become an Internal error of that one request, with the stack
// in the bridge's log. A panic on a goroutine of your own ends the process; its
// stack is logged too, and the bridge starts the process again.
//
// Restarts. A process that dies is started again, at once the first time, and its
// subscriptions and registrations are asked for again. So keep nothing in memory
// that a system or the configuration cannot give back. While your system is away,
// answer Unavailable and reconnect by yourself; do not exit for it. If Subscribe
// or Register is refused after a restart, it is tried again for unavailable,
// timeout, too_many_requests and (for a minute) already_exists; any other code
// ends the subscription.
//
// Configuration. Open is called again when the section changes. Apply the change
// in place, or return Unimplemented and have a fresh process opened instead.
//
// Shutdown. Close is called after the calls and publishes in flight are done, or
// half of the time for it is over. After it the process ends; it need not clean up
// what the kernel cleans up. SIGTERM and SIGINT do nothing: a backend lives as
// long as its bridge. When the bridge is killed, your process is too, with all
// children that stayed in its process group.
//
// Logging. Use Env.Log (or slog's default, which is the same): records keep their
// level, time and attributes. Lines on stdout and stderr are logged as well, but
// nothing may be written to stdout before Serve. Never log a secret.
//
// Environment. The process gets PATH, HOME and TMPDIR of the bridge and what the
// operator lists, nothing else. Secrets belong into config.
//
// Package kit has what most backends need of all this. In another language, implement the service in plugins/internal/pb/backend.proto,
// which documents the protocol from the handshake on.
//
// # Running one
//
// Launch starts a process and returns a *Plugin: a core.Backend that outlives its
// process. The files of this package follow a message on its way: plugin.go (what
// the bridge sees) and supervisor.go (who keeps a process running) stand on
// session.go, which is a process (process.go, runner.go, childlog.go) and a client
// (client.go, with exchange.go for requests and replies, feed.go and
// invocations.go for what comes in). On the plugin's side server.go and its
// siblings do the same in reverse. convert.go and errors.go translate between core
// and the wire.
package plugins
