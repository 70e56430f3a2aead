package backendtest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/anybridge/anybridge/core"
)

// lifeChecks open and close backends of their own, with no other beside them.
func lifeChecks() []check {
	return []check{
		{name: "open and close", run: (*suite).testClose},
		{name: "close with streams", run: (*suite).testCloseStreams, skip: needs(subscribes)},
		{name: "close with calls in flight", run: (*suite).testCloseCalls, skip: needs(rpc)},
		{name: "wrong configuration", run: (*suite).testWrongConfig},
		{name: "open again", run: (*suite).testReopen},
	}
}

// sharedChecks use the backends a, b and c, and leave them as they were. The last
// of them take the system or the process away.
func sharedChecks() []check {
	return []check{
		{name: "status", run: (*suite).testStatus},
		{name: "undeclared", run: (*suite).testUndeclared},
		{name: "bridge", run: (*suite).testBridge, skip: needs(pubsub)},
		{name: "publish", run: (*suite).testPublish, skip: needs(pubsub)},
		{name: "own events", run: (*suite).testOwnEvents, skip: needs(pubsub)},
		{name: "order", run: (*suite).testOrder, skip: needs(pubsub)},
		{name: "concurrent publishes", run: (*suite).testConcurrentPublishes, skip: needs(pubsub)},
		{name: "patterns", run: (*suite).testPatterns, skip: needs(pubsub)},
		{name: "overlapping subscriptions", run: (*suite).testOverlap, skip: needs(pubsub, func(s *suite) string {
			return unless(s.can(core.Exact) && s.can(core.Prefix), "no exact and prefix subscriptions")
		})},
		{name: "unsubscribe", run: (*suite).testUnsubscribe, skip: needs(pubsub)},
		{name: "retain", run: (*suite).testRetain, skip: needs(pubsub, func(s *suite) string {
			return unless(s.info.Can.Retain && s.Answer == nil, "nothing is retained")
		})},
		{name: "contexts that have ended", run: (*suite).testEndedContexts},
		{name: "hostile payloads", run: (*suite).testHostilePayloads, skip: needs(pubsub)},
		{name: "unusual names", run: (*suite).testUnusualNames, skip: needs(pubsub)},
		{name: "bad names", run: (*suite).testBadNames, skip: func(s *suite) string {
			return unless(len(s.BadNames) > 0, "the system takes every name")
		}},
		{name: "burst", run: (*suite).testBurst, skip: needs(pubsub)},
		{name: "call", run: (*suite).testCall, skip: needs(rpc)},
		{name: "call errors", run: (*suite).testCallErrors, skip: needs(rpc)},
		{name: "no such procedure", run: (*suite).testNoSuchProcedure, skip: func(s *suite) string {
			return unless(s.info.Can.Call, "no calls")
		}},
		{name: "concurrent calls", run: (*suite).testConcurrentCalls, skip: needs(rpc)},
		{name: "cancel", run: (*suite).testCancel, skip: needs(rpc)},
		{name: "deadline", run: (*suite).testDeadline, skip: needs(rpc)},
		{name: "unregister", run: (*suite).testUnregister, skip: needs(rpc)},
		{name: "registered twice", run: (*suite).testRegisteredTwice, skip: needs(rpc, func(s *suite) string {
			return unless(!s.SharesProcedures, "the system cannot tell who has a procedure")
		})},
		{name: "registered patterns", run: (*suite).testRegisteredPatterns, skip: needs(rpc)},
		{name: "invocation policies", run: (*suite).testInvoke, skip: needs(rpc, func(s *suite) string {
			return unless(len(s.info.Can.Invoke) > 0 && s.Answer == nil, "procedures are not shared")
		})},
		{name: "hostile calls", run: (*suite).testHostileCalls, skip: needs(rpc)},
		{name: "server killed", run: (*suite).testServerKilled, skip: killable},
		{name: "opened without server", run: (*suite).testOpenedWithoutServer, skip: killable},
		{name: "process killed", run: (*suite).testProcessKilled, skip: needs(pubsub, func(s *suite) string {
			_, ok := s.b.(process)
			return unless(ok, "there is no process")
		})},
	}
}

func needs(conditions ...func(*suite) string) func(*suite) string {
	return func(s *suite) string {
		for _, condition := range conditions {
			if why := condition(s); why != "" {
				return why
			}
		}
		return ""
	}
}

func unless(ok bool, why string) string {
	if ok {
		return ""
	}
	return why
}

func subscribes(s *suite) string {
	return unless(s.info.Can.Subscribe != nil, "no subscriptions")
}

func pubsub(s *suite) string {
	return unless(s.info.Can.Publish && s.can(core.Exact), "no publish and exact subscribe")
}

func rpc(s *suite) string {
	return unless(s.info.Can.Call && s.info.Can.CanRegister(core.Exact), "no call and exact register")
}

func killable(s *suite) string {
	return unless(s.Kill != nil && s.Start != nil, "no server that can be killed")
}

func (s *suite) can(m core.Match) bool { return s.info.Can.CanSubscribe(m) }

// oneOf is nil if the code is among those that are allowed.
func oneOf(err error, allowed ...core.Code) error {
	code := core.CodeOf(err)
	if slices.Contains(allowed, code) {
		return nil
	}
	if err == nil {
		err = errors.New("no error")
	}
	return fmt.Errorf("got code %q, want one of %q: %w", code, allowed, err)
}
