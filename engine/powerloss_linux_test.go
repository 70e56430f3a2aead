package engine_test

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// A loss of power is rehearsed like this: an engine of its own process (victim) works
// on a disk that knows what has been synced (disk). At some moment the disk stands
// still, what the victim has told until then is noted, and the victim is killed. Then
// another engine is opened on what the disk has kept, and has to deliver what is
// owed. Each disk goes through several losses, so that what one of them leaves is
// also what the next one begins with.

// TestDurabilityDiskSurvivesPowerLoss shows that what is acknowledged is there and is
// delivered, whatever the disk kept of what had not been synced.
func TestDurabilityDiskSurvivesPowerLoss(t *testing.T) {
	for seed := range uint64(7) {
		journal := seed%2 == 0
		t.Run(fmt.Sprintf("seed=%d,journal=%v", seed, journal), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			var content image
			var told transcript
			for range 3 {
				content = losePower(t, newDisk(journal, content), r, engine.Disk, &told)
				for _, loss := range recoverAll(t, content, engine.Disk, &told) {
					t.Error(loss)
				}
				if t.Failed() {
					return
				}
			}
			t.Log(told.summary())
		})
	}
}

// TestDurabilityProcessLosesWithThePower shows that the rehearsal finds losses where
// they are to be expected, and that the store goes on all the same.
func TestDurabilityProcessLosesWithThePower(t *testing.T) {
	var rounds atomic.Int64 // that lost something
	t.Run("rounds", func(t *testing.T) {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
				t.Parallel()
				var told transcript
				content := losePower(t, newDisk(true, nil), rand.New(rand.NewPCG(seed, 2)), engine.Process, &told)
				if losses := recoverAll(t, content, engine.Process, &told); len(losses) > 0 {
					t.Logf("%s; %d lost, for example: %s", told.summary(), len(losses), losses[0])
					rounds.Add(1)
				}
			})
		}
	})
	if rounds.Load() == 0 {
		t.Error("nothing was lost without a sync: does the disk forget?")
	}
}

// TestDurabilityProcessSurvivesItsDeath shows that without a sync what is acknowledged
// has at least left the process.
func TestDurabilityProcessSurvivesItsDeath(t *testing.T) {
	var told transcript
	d := newDisk(true, nil)
	losePower(t, d, rand.New(rand.NewPCG(0, 3)), engine.Process, &told)
	for _, loss := range recoverAll(t, d.seen(), engine.Process, &told) {
		t.Error(loss)
	}
}

// losePower runs a victim on a disk, for a while, and returns what the disk has kept.
func losePower(t *testing.T, d *disk, r *rand.Rand, durability engine.Durability, told *transcript) image {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), victimEnv+"="+string(durability))
	folder := mount(t, d)
	cmd.ExtraFiles = []*os.File{folder}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	folder.Close()
	started := make(chan struct{})
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		told.hear(bufio.NewScanner(stdout), func() { close(started) })
	}()
	if r.IntN(6) > 0 { // else the power may fail while the store is opened
		select {
		case <-started:
		case <-heard:
		case <-time.After(30 * time.Second):
		}
	}
	time.Sleep(time.Duration(r.Int64N(int64(800 * time.Millisecond))))
	d.cut()
	_ = cmd.Process.Kill()
	d.release()
	<-heard
	if err := cmd.Wait(); err == nil || strings.Contains(stderr.String(), "victim:") {
		t.Fatalf("the victim ended by itself: %v\n%s", err, stderr.String())
	}
	return d.survives(r)
}

// transcript is what victims have told.
type transcript struct {
	events, calls []string
	bindings      map[string]bool // by ID: whether it exists
	done          map[string]int  // deliveries, by ID: their place in the order
}

// hear listens until the victim is dead. started is called at the first event.
func (h *transcript) hear(lines *bufio.Scanner, started func()) {
	if h.bindings == nil {
		h.bindings, h.done = map[string]bool{}, map[string]int{}
	}
	start := sync.OnceFunc(started)
	for lines.Scan() {
		switch what, id, _ := strings.Cut(lines.Text(), " "); what {
		case "saved", "deleted":
			h.bindings[id] = what == "saved"
		case "deleting":
			delete(h.bindings, id)
		case "event":
			h.events = append(h.events, id)
			start()
		case "call":
			h.calls = append(h.calls, id)
		case "done":
			h.delivered(id)
		}
	}
}

// delivered notes a delivery; only the first time counts.
func (h *transcript) delivered(id string) {
	if _, again := h.done[id]; !again {
		h.done[id] = len(h.done)
	}
}

func (h *transcript) summary() string {
	return fmt.Sprintf("%d events, %d calls and %d bindings were acknowledged", len(h.events), len(h.calls), len(h.bindings))
}

// owed are the IDs of all deliveries that are owed for what was acknowledged.
func (h *transcript) owed() []string {
	owed := slices.Clone(h.calls)
	for _, id := range h.events {
		var topic int
		_, _ = fmt.Sscanf(id, "t%d-", &topic)
		for _, s := range victimSubscriptions(topic) {
			owed = append(owed, id+"_"+s.ID())
		}
	}
	return owed
}

// recoverAll opens an engine on what a disk has kept, with endpoints that answer, and
// returns what is lost of what was acknowledged before. What is acknowledged from now
// on must not be: a store that has lost something works like any other.
func recoverAll(t *testing.T, content image, durability engine.Durability, told *transcript) (losses []string) {
	t.Helper()
	dir := t.TempDir()
	if err := content.writeTo(dir); err != nil {
		t.Fatal(err)
	}
	to := &endpoints{}
	o := options(dir, to)
	o.Durability = durability
	e := engine.New(o)
	if err := e.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer closeNow(e)
	for id, exists := range told.bindings {
		if found := e.Registry().Subscription(id) != nil || e.Registry().Registration(id) != nil; found != exists {
			losses = append(losses, fmt.Sprintf("%s exists: %v, acknowledged: %v", id, found, exists))
		}
	}
	var fresh transcript
	for n := range victimTopics {
		subscribe(t, e, victimSubscriptions(n)...)
		ev := event(victimEvent(n, core.NewID("fresh"), 0))
		ev.Topic = victimPattern(n).Address
		if err := e.Deliver(t.Context(), []core.Owed{{Event: ev, ID: ev.ID, To: victimSubscriptions(n)}}); err != nil {
			t.Fatal(err)
		}
		fresh.events = append(fresh.events, ev.ID)
	}
	dead := deadLetters(t, e)
	owed := slices.DeleteFunc(append(told.owed(), fresh.owed()...), func(id string) bool {
		_, before := told.done[id]
		return before || dead[id]
	})
	for patience := 0; len(owed) > 0 && patience < 5; patience++ {
		// Who subscribes again is tried at once.
		for n := range victimTopics {
			subscribe(t, e, victimSubscriptions(n)...)
		}
		for n, quiet := -1, 0; len(owed) > 0 && quiet < 50; quiet++ {
			time.Sleep(20 * time.Millisecond)
			if now := to.attempted(); now != n {
				n, quiet = now, 0
			}
			owed = to.without(owed)
		}
	}
	for _, id := range owed {
		if strings.Contains(id, "-fresh_") {
			t.Errorf("%s is lost, though it came after the power was back", id)
		}
		losses = append(losses, id+" is lost")
	}
	return append(losses, outOfOrder(told, to)...)
}

// without returns those of the IDs that have not been delivered.
func (s *endpoints) without(ids []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(ids, func(id string) bool { return s.done[id] > 0 })
}

func deadLetters(t *testing.T, e *engine.Engine) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for after := ""; ; {
		list, next, err := e.Deliveries(t.Context(), engine.Filter{State: engine.Failed, Limit: 1000, After: after})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			ids[d.ID] = true
		}
		if after = next; next == "" {
			return ids
		}
	}
}

// outOfOrder returns what an ordered endpoint got for the first time after a later
// event of the same producer.
func outOfOrder(told *transcript, to *endpoints) (wrong []string) {
	to.mu.Lock()
	defer to.mu.Unlock()
	order := slices.SortedFunc(maps.Keys(told.done), func(a, b string) int { return told.done[a] - told.done[b] })
	for _, id := range to.order {
		if _, before := told.done[id]; !before {
			order = append(order, id)
		}
	}
	latest := map[string]string{} // by producer and endpoint
	for _, id := range order {
		event, endpoint, _ := strings.Cut(id, "_sub_")
		for n := range victimTopics {
			for _, s := range victimSubscriptions(n) {
				if !s.Endpoint.Ordered || "sub_"+endpoint != s.ID() {
					continue
				}
				producer := event[:strings.LastIndexByte(event, '-')] + endpoint
				if event < latest[producer] {
					wrong = append(wrong, fmt.Sprintf("%s came after %s", id, latest[producer]))
				}
				latest[producer] = max(latest[producer], event)
			}
		}
	}
	return wrong
}
