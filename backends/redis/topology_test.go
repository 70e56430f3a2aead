package redis_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/anybridge/anybridge/backends/redis"
	"github.com/anybridge/anybridge/backends/redis/redistest"
	"github.com/anybridge/anybridge/core"
)

// works sends something through everything the backend can do.
func works(t *testing.T, b *redis.Backend, other *redis.Backend, in core.Stream[*core.Event], n int) {
	t.Helper()
	mark := fmt.Sprintf(`["mark %d"]`, n)
	seen := make(chan struct{})
	go func() {
		defer close(seen)
		for {
			events, err := in.Next(t.Context())
			if err != nil {
				return
			}
			for _, e := range events {
				if string(e.Args) == mark {
					return
				}
			}
		}
	}()
	redistest.Eventually(t, "an event arrives", func() bool {
		_ = other.Publish(patient(t), event("orders", mark))
		select {
		case <-seen:
			return true
		default:
			return false
		}
	})
	redistest.Eventually(t, "a call is answered", func() bool {
		_, err := other.Call(patient(t), call("p", mark))
		return err == nil
	})
	publish(t, other, event("kept", mark))
}

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	master, replicas, watchers := redistest.Sentinels(t, 2, 3)
	url := fmt.Sprintf("redis+sentinel://%s,%s,%s/mymaster", watchers[0].Addr, watchers[1].Addr, watchers[2].Addr)
	kept := settings{"streams": settings{"kept": settings{"consumer": "c", "group": "one"}}}
	kept2 := settings{"streams": settings{"kept": settings{"consumer": "c", "group": "two"}}}
	b, other := open(t, url, kept), open(t, url, kept2)
	in, entries := subscribe(t, b, "orders", core.Exact), subscribe(t, b, "kept", core.Exact)
	serve(t, b, "p", echo)
	works(t, b, other, in, 1)
	wantArgs(t, take(t, entries, 1)[0], "kept", `["mark 1"]`)
	redistest.Eventually(t, "the replicas have it", func() bool {
		return replicas[0].CLI("XLEN", "kept") == "1" && replicas[1].CLI("XLEN", "kept") == "1"
	})
	master.Kill()
	watchers[0].Kill() // two of three are enough
	redistest.Eventually(t, "a replica is promoted", func() bool {
		for _, r := range replicas {
			// While it changes its role, a server closes the connections of clients.
			if role, err := r.Run("ROLE"); err == nil && strings.HasPrefix(role, "master") {
				return true
			}
		}
		return false
	})
	works(t, b, other, in, 2)
	for last := ""; last != `["mark 2"]`; {
		for _, e := range take(t, entries, 1) {
			last = string(e.Args)
		}
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	nodes := redistest.Cluster(t, 3)
	url := fmt.Sprintf("redis+cluster://%s,%s", nodes[0].Addr, nodes[1].Addr)
	all := settings{"kept": settings{}}
	for i := range 10 {
		all[fmt.Sprintf("kept%d", i)] = settings{}
	}
	b := open(t, url, settings{"streams": all})
	other := open(t, url, settings{"streams": all}, settings{"rpc": settings{"prefix": "{rpc}:"}})
	b2 := open(t, url, settings{"rpc": settings{"prefix": "{rpc}:"}})
	in := subscribe(t, b, "orders", core.Exact)
	for i := range 10 { // keys on all nodes
		name := fmt.Sprintf("kept%d", i)
		entries := subscribe(t, b, name, core.Exact)
		nodes[0].CLI("-c", "XADD", name, "*", "text", name)
		if e := take(t, entries, 1)[0]; string(e.Kwargs) != `{"text":"`+name+`"}` {
			t.Errorf("got %s", e.Kwargs)
		}
		proc := fmt.Sprintf("p%d", i)
		serve(t, b, proc, echo)
		serve(t, b2, proc, echo)
		if _, err := b.Call(patient(t), call(proc, `[1]`)); err != nil {
			t.Error(proc, err)
		}
		if _, err := other.Call(patient(t), call(proc, `[1]`)); err != nil {
			t.Error(proc, err)
		}
		for _, n := range nodes { // PUBLISH reaches every node's subscribers
			n.CLI("PUBLISH", "orders", proc)
			wantArgs(t, take(t, in, 1)[0], "orders", `["`+proc+`"]`)
		}
	}
	serve(t, b2, "p", echo)
	works(t, b, other, in, 1)
	nodes[2].Kill()
	redistest.Eventually(t, "events go on without the third node", func() bool {
		_ = other.Publish(patient(t), event("orders", `["still"]`))
		return nodes[0].CLI("PUBSUB", "NUMSUB", "orders")+nodes[1].CLI("PUBSUB", "NUMSUB", "orders") != "orders\n0orders\n0"
	})
	publish(t, other, event("orders", `["end"]`))
	for last := ""; last != `["end"]`; {
		for _, e := range take(t, in, 1) {
			last = string(e.Args)
		}
	}
	nodes[2].Start()
	works(t, b, other, in, 2)
}
