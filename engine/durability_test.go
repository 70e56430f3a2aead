package engine_test

import (
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// TestDurabilityCanBeChanged shows that a store goes on under another durability than
// the one it was made with.
func TestDurabilityCanBeChanged(t *testing.T) {
	dir := t.TempDir()
	s := subscription("a", core.Endpoint{})
	for _, durability := range []engine.Durability{engine.Process, engine.Disk, engine.Process} {
		to := &endpoints{}
		o := options(dir, to)
		o.Durability = durability
		e := open(t, o)
		subscribe(t, e, s)
		deliver(t, e, []*core.Subscription{s}, "e_"+string(durability))
		within(t, 10*time.Second, "a delivery", func() bool { return to.delivered() == 1 })
		closeNow(e)
	}
}
