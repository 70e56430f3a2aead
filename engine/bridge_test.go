package engine_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anybridge/anybridge/core"
	"github.com/anybridge/anybridge/engine"
)

// bridgeEnv holds the configuration of the bridge that runBridge is to be.
const bridgeEnv = "ANYBRIDGE_TEST_BRIDGE"

type bridgeConfig struct{ URL, Name string }

// topicPattern is one of the topics of a test; they are on different lanes.
func topicPattern(name string) core.Pattern {
	return core.Pattern{Address: core.Address{Backend: "wamp", Name: name}, Match: core.Exact}
}

// flaky are endpoints that fail one time in five, and tell what was delivered.
type flaky struct {
	hold atomic.Pointer[chan struct{}] // nil, or attempts wait until it is closed
	tell func(what, id string)

	mu    sync.Mutex
	tries map[string]int // by URL and topic
}

// fails reports whether an attempt fails: never twice in a row, or the endpoint would
// be parked.
func (f *flaky) fails(a *engine.Attempt) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tries == nil {
		f.tries = map[string]int{}
	}
	if a.Event == nil {
		return false
	}
	at := a.Endpoint.URL + a.Event.Topic.Name
	f.tries[at]++
	return f.tries[at]%5 == 0
}

// Send implements engine.Sender.
func (f *flaky) Send(ctx context.Context, a *engine.Attempt) engine.Outcome {
	if hold := f.hold.Load(); hold != nil {
		select {
		case <-*hold:
		case <-ctx.Done():
			return engine.Outcome{Ours: true, Err: ctx.Err()}
		}
	}
	if f.fails(a) {
		return engine.Outcome{Status: 500, Err: errDown}
	}
	if a.Result != nil {
		f.tell("result", fmt.Sprintf("%s %s", a.Result.CallID, core.CodeOf(asError(a.Result.Err))))
	} else {
		f.tell("done", a.ID)
	}
	return engine.Outcome{Done: true, Status: 200}
}

func asError(e *core.Error) error {
	if e == nil {
		return nil
	}
	return e
}

// publish delivers count events, one after the other, each until it is
// acknowledged.
func publish(ctx context.Context, e *engine.Engine, topic, producer string, count int, pause time.Duration, acked func(id string)) {
	var to []*core.Subscription
	subs, _, _ := e.Bindings()
	for _, s := range subs {
		if s.Pattern == topicPattern(topic) {
			to = append(to, s)
		}
	}
	for i := 0; i < count && ctx.Err() == nil; i++ {
		ev := event(fmt.Sprintf("%s-%s-%06d", topic, producer, i))
		ev.Topic = topicPattern(topic).Address
		for ctx.Err() == nil && e.Deliver(ctx, []core.Owed{{Event: ev, ID: ev.ID, To: to}}) != nil {
			time.Sleep(20 * time.Millisecond) // the store is away: nothing is promised
		}
		if ctx.Err() == nil {
			acked(ev.ID)
		}
		time.Sleep(pause)
	}
}

// bridgeSubscriptions are an ordered and a plain one to a topic.
func bridgeSubscriptions(topic string) []*core.Subscription {
	retry := slices.Repeat([]time.Duration{5 * time.Millisecond}, 100)
	return []*core.Subscription{
		{Owner: "ordered", Pattern: topicPattern(topic), Endpoint: core.Endpoint{URL: "http://ordered.test/", Ordered: true, Retry: retry}},
		{Owner: "plain", Pattern: topicPattern(topic), Endpoint: core.Endpoint{URL: "http://plain.test/", Retry: retry}},
	}
}

// runBridge is a bridge's engine that does what its standard input says, line by
// line, and tells what has come of it.
func runBridge(conf string) {
	var c bridgeConfig
	orDie(json.Unmarshal([]byte(conf), &c))
	to := &flaky{tell: tell}
	o := options("", to)
	o.URL, o.Name = c.URL, c.Name
	if os.Getenv("ANYBRIDGE_TEST_LOG") != "" {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	o.Call = func(ctx context.Context, _ *core.Call) (*core.Result, error) {
		<-ctx.Done() // a procedure that takes long
		return nil, ctx.Err()
	}
	e := engine.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	orDie(e.Open(ctx))
	tell("ready", "")
	var wg sync.WaitGroup
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch words[0] {
		case "subscribe":
			orDie(e.Registry().Save(ctx, bridgeSubscriptions(words[1]), nil))
			tell("subscribed", words[1])
		case "publish": // topic producer count
			count, err := strconv.Atoi(words[3])
			orDie(err)
			wg.Go(func() {
				publish(ctx, e, words[1], words[2], count, 2*time.Millisecond, func(id string) { tell("event", id) })
				tell("published", words[2])
			})
		case "call":
			id, err := e.StartCall(ctx, engine.AsyncCall{
				ID: words[1], Owner: "caller", Timeout: time.Hour, To: core.Endpoint{URL: "http://caller.test/"},
				Call: &core.Call{Procedure: core.Address{Backend: "wamp", Name: "p"}},
			})
			orDie(err)
			tell("call", id)
		case "hold":
			hold := make(chan struct{})
			to.hold.Store(&hold)
			tell("held", "")
		case "go":
			close(*to.hold.Swap(nil))
		case "lanes":
			tell("lanes", strconv.Itoa(lanesOf(e)))
		case "bindings":
			subs, _, _ := e.Bindings()
			tell("bindings", strconv.Itoa(len(subs)))
		case "close":
			cancel()
			wg.Wait()
			closing, stop := context.WithTimeout(context.Background(), 5*time.Second)
			_ = e.Close(closing)
			stop()
			tell("closed", "")
		}
	}
}

func lanesOf(e *engine.Engine) (mine int) {
	for _, l := range e.Status(context.Background()).Lanes {
		if l.Mine {
			mine++
		}
	}
	return mine
}

// record is what bridges have told.
type record struct {
	mu    sync.Mutex
	acked []string       // events
	done  map[string]int // deliveries, by ID
	order []string       // of them, the first ones
	said  map[string]int // everything, by line
}

func newRecord() *record { return &record{done: map[string]int{}, said: map[string]int{}} }

func (r *record) tell(what, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said[strings.TrimSpace(what+" "+id)]++
	switch what {
	case "event":
		r.acked = append(r.acked, id)
	case "done":
		if r.done[id]++; r.done[id] == 1 {
			r.order = append(r.order, id)
		}
	}
}

func (r *record) heard(line string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.said[line]
}

func (r *record) events() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.acked)
}

// producers returns how many events each producer has published to each topic.
func (r *record) producers() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := map[string]int{}
	for _, event := range r.acked {
		count[event[:strings.LastIndex(event, "-")]]++
	}
	return count
}

// missing are deliveries that were promised and have not been made.
func (r *record) missing() (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, event := range r.acked {
		topic, _, _ := strings.Cut(event, "-")
		for _, s := range bridgeSubscriptions(topic) {
			if id := event + "_" + s.ID(); r.done[id] == 0 {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// check demands that ordered endpoints have seen what each producer published in
// order, and returns how many deliveries were made, and how many of them again.
func (r *record) check(t *testing.T) (made, again int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	last := map[string]string{}
	for _, id := range r.order {
		event, to, _ := strings.Cut(id, "_sub_")
		topic, _, _ := strings.Cut(event, "-")
		if "sub_"+to != bridgeSubscriptions(topic)[0].ID() {
			continue
		}
		producer := event[:strings.LastIndex(event, "-")]
		if event < last[producer] {
			t.Errorf("ordered endpoint: %s came after %s", event, last[producer])
		}
		last[producer] = event
	}
	for _, n := range r.done {
		made += n
		again += n - 1
	}
	return made, again
}

// bridge is a bridge that runs as a process.
type bridge struct {
	*child
	t *testing.T
	*record
}

// startBridge starts a bridge whose deliveries are also told to all.
func startBridge(t *testing.T, conf bridgeConfig, all *record) *bridge {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	b := &bridge{t: t, record: newRecord()}
	b.child = startChild(t, bridgeEnv, conf, w)
	w.Close()
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer r.Close()
		for lines := bufio.NewScanner(r); lines.Scan(); {
			what, id, _ := strings.Cut(lines.Text(), " ")
			b.tell(what, id)
			all.tell(what, id)
		}
	}()
	t.Cleanup(func() {
		b.kill()
		<-read
	})
	b.hears("ready", 30*time.Second)
	return b
}

// do sends the bridge a command.
func (b *bridge) do(command string) {
	b.t.Helper()
	if _, err := b.stdin.Write([]byte(command + "\n")); err != nil {
		b.t.Fatal(err)
	}
}

// hears waits until the bridge has said something.
func (b *bridge) hears(line string, limit time.Duration) {
	b.t.Helper()
	within(b.t, limit, "the bridge says "+line, func() bool { return b.heard(line) > 0 })
}

// answers asks until the answer is as wanted.
func (b *bridge) answers(question, answer string, limit time.Duration) {
	b.t.Helper()
	line := question + " " + answer
	before := b.heard(line)
	asked := time.Time{}
	within(b.t, limit, line, func() bool {
		if time.Since(asked) > 50*time.Millisecond {
			asked = time.Now()
			b.do(question)
		}
		return b.heard(line) > before
	})
}
