package tests

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	nexus "github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

var (
	outageDown = flag.Duration("outage.down", 3*time.Second, "how long TestOutages leaves each server dead")
	outageRate = flag.Int("outage.rate", 100, "events per second that TestOutages publishes on WAMP")
)

// TestOutages kills each server, and each plugin process, while WAMP and all systems
// publish: the durable routes lose nothing, the others count what they lost, nobody else
// notices, and what the bridge could not hear is told as a gap.
func TestOutages(t *testing.T) {
	o := startOutages(t)
	for _, s := range o.systems {
		o.run(t, s, "server", func(m *outageMoment) { o.killServer(t, s, m) })
	}
	for _, s := range o.systems {
		o.run(t, s, "plugin", func(m *outageMoment) { o.killPlugin(t, s, m) })
	}
	if dead := o.b.status(t).Engine.DeadLetters; dead != 0 {
		t.Errorf("%d dead letters", dead)
	}
}

const (
	outageTopic = "com.outage.ticks"
	outageFeed  = "com.outage.feed."
)

// outages is a bridge between WAMP and three servers, with a load in both directions.
type outages struct {
	b       *bridge
	systems []*outageSystem
	gaps    chan outageGap

	session   *nexus.Client
	published atomic.Int64
	turn      sync.RWMutex // for reading: while somebody publishes
	running   bool         // guarded by turn
}

// outageSystem is one of the servers, and what an independent client of it hears and says.
type outageSystem struct {
	outageServer
	name string // of the backend
	gate *outageGate

	light, safe *outageTally // what came by the route that is not durable, and the one that is
	said, got   *outageTally // what the client heard itself say, and what WAMP got of that

	next   int               // the client's last number; guarded by outages.turn
	saidAt map[int]time.Time // likewise
	deaf   map[int]bool      // what WAMP will never get
}

func newOutageSystem(name string, s outageServer, gate *outageGate) *outageSystem {
	return &outageSystem{
		outageServer: s, name: name, gate: gate, saidAt: map[int]time.Time{}, deaf: map[int]bool{},
		light: newOutageTally(), safe: newOutageTally(), said: newOutageTally(), got: newOutageTally(),
	}
}

// outageServer is a real server with an independent client, which dies with it.
type outageServer interface {
	// config is the backend's section, but for the name.
	config() string
	// topic is the name there of light, safe or feed.
	topic(of string) string
	kill()
	// restart starts the server, and a client that listens to all topics and can say
	// something on the feed. What it hears it gives to the function.
	restart(t *testing.T, heard func(topic, text string))
	// say says something on the feed, or nothing while the server is dead.
	say(n int)
}

// restart starts the server, and has what its client hears counted.
func (s *outageSystem) restart(t *testing.T) {
	t.Helper()
	s.outageServer.restart(t, func(topic, text string) {
		for of, tally := range map[string]*outageTally{"light": s.light, "safe": s.safe, "feed": s.said} {
			if s.topic(of) == topic {
				tally.add(text)
			}
		}
	})
}

// outageGap is what the bridge tells of a gap.
type outageGap struct {
	Backend, Topic string
	Since, Until   time.Time
}

func startOutages(t *testing.T) *outages {
	t.Helper()
	o := &outages{gaps: make(chan outageGap, 1000)}
	o.systems = []*outageSystem{newOutageRedis(t), newOutageIRC(t), newOutageXMPP(t)}
	var routes strings.Builder
	for _, s := range o.systems {
		fmt.Fprintf(&routes, "  - {name: %s-light, from: %s, to: %q}\n", s.name, outageTopic, s.name+":"+s.topic("light"))
		fmt.Fprintf(&routes, "  - {name: %s-safe, from: %s, to: %q, durable: true}\n", s.name, outageTopic, s.name+":"+s.topic("safe"))
		fmt.Fprintf(&routes, "  - {name: %s-feed, from: %q, to: %s}\n", s.name, s.name+":"+s.topic("feed"), outageFeed+s.name)
	}
	var backends strings.Builder
	for _, s := range o.systems {
		fmt.Fprintf(&backends, "  %s: %s\n", s.name, s.config())
		s.restart(t)
		s.gate.open(t)
	}
	o.b = startBridge(t, setup{more: backends.String() + "routes:\n" + routes.String()})
	o.hearGaps(t)
	o.session = connectNexus(t, o.b.WS, "json")
	for _, s := range o.systems {
		if err := o.session.Subscribe(outageFeed+s.name, func(e *wamp.Event) { s.got.add(fmt.Sprint(e.Arguments...)) }, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range o.systems {
		o.awaitUp(t, s)
	}
	o.startLoad(t)
	return o
}

// hearGaps has an HTTP app subscribe to what the bridge tells of gaps.
func (o *outages) hearGaps(t *testing.T) {
	t.Helper()
	a := startApp(t, theToken)
	o.b.subscribe(t, object{"anybridge.backend.gap": a.uncounted("/gap", func(c callback) response {
		var g outageGap
		if err := json.Unmarshal(c.Kwargs, &g); err != nil {
			t.Errorf("gap %s: %v", c.Kwargs, err)
		}
		o.gaps <- g
		return response{status: http.StatusNoContent}
	})})
}

// startLoad has somebody who publishes on WAMP, and by each system's client, when load says
// so, until the test ends.
func (o *outages) startLoad(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var load sync.WaitGroup
	t.Cleanup(func() {
		stop()
		load.Wait()
	})
	every := func(pace time.Duration, publish func()) {
		load.Go(func() {
			tick := time.NewTicker(pace)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				func() {
					o.turn.RLock()
					defer o.turn.RUnlock()
					if o.running {
						publish()
					}
				}()
			}
		})
	}
	every(time.Second/time.Duration(*outageRate), func() {
		n := o.published.Load() + 1
		if err := o.session.Publish(outageTopic, wamp.Dict{"acknowledge": true}, wamp.List{n}, nil); err != nil {
			t.Errorf("publish %d: %v", n, err)
		}
		o.published.Store(n)
	})
	for _, s := range o.systems {
		every(50*time.Millisecond, s.speak)
	}
}

// load lets everybody publish, or nobody: then nothing is being published any more.
func (o *outages) load(run bool) {
	o.turn.Lock()
	defer o.turn.Unlock()
	o.running = run
}

// speak has the client say its next number.
func (s *outageSystem) speak() {
	s.next++
	s.saidAt[s.next] = time.Now()
	s.say(s.next)
}

// run has the load go on while something is killed and comes back, then stops the load
// and compares what arrived with what was published and with what was counted.
func (o *outages) run(t *testing.T, victim *outageSystem, what string, kill func(*outageMoment)) {
	t.Helper()
	before, first := o.counts(t), int(o.published.Load())
	heard := map[*outageSystem]int{}
	for _, s := range o.systems {
		heard[s] = s.got.last()
	}
	o.load(true)
	eventually(t, "the load runs", func() error {
		for _, s := range o.systems {
			if s.light.last() <= first || s.got.last() <= heard[s] {
				return fmt.Errorf("%s has %d of %d, WAMP %d of %d", s.name, s.light.last(), o.published.Load(), s.got.last(), s.said.last())
			}
		}
		return nil
	})
	m := &outageMoment{what: what, seen: victim.light.last(), at: time.Now()}
	kill(m)
	o.awaitBack(t, victim, m)
	o.load(false)
	o.settle(t, victim)
	o.account(t, victim, before, first, m)
	if t.Failed() {
		t.FailNow()
	}
}

// outageMoment is what is known of one kill.
type outageMoment struct {
	what      string
	at        time.Time
	back      time.Time // when the server could be reached again; zero if it was not killed
	seen      int       // the last number that the client had seen before
	published int       // the last number published when it was done
	up        time.Time // when the backend was up again
	gap       outageGap // of the feed
}

// killServer has the server dead for a while. Its client is back before the bridge can be,
// so that it hears all that the bridge carries.
func (o *outages) killServer(t *testing.T, s *outageSystem, m *outageMoment) {
	t.Helper()
	s.gate.close()
	s.kill()
	m.published = int(o.published.Load()) + 1 // one may be on its way
	time.Sleep(*outageDown)                   // the outage itself
	if state := o.b.status(t).backend(t, s.name).State; state == "up" {
		t.Errorf("backend %s is up without its server", s.name)
	}
	s.restart(t)
	m.back = time.Now()
	said := s.said.last()
	eventually(t, "the client says what the bridge cannot hear", func() error {
		if s.said.last() < said+3 {
			return fmt.Errorf("only up to %d", s.said.last())
		}
		return nil
	})
	s.gate.open(t)
}

// killPlugin kills the process of the backend.
func (o *outages) killPlugin(t *testing.T, s *outageSystem, m *outageMoment) {
	t.Helper()
	pid := o.b.status(t).backend(t, s.name).Process.PID
	if pid == 0 {
		t.Fatalf("status tells no pid of %s", s.name)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	m.published = int(o.published.Load()) + 1
	eventually(t, "there is another process", func() error {
		if now := o.b.status(t).backend(t, s.name).Process.PID; now == pid || now == 0 {
			return fmt.Errorf("pid %d", now)
		}
		return nil
	})
}

// outageBack bounds how long a backend takes to come back: they try more seldom the
// longer their server is away.
func outageBack() time.Duration { return 90*time.Second + 2**outageDown }

func (o *outages) awaitUp(t *testing.T, s *outageSystem) {
	t.Helper()
	within(t, outageBack(), s.name+" is up", func() error {
		if b := o.b.status(t).backend(t, s.name); b.State != "up" {
			return fmt.Errorf("%s: %s", b.State, b.Reason)
		}
		return nil
	})
}

// awaitBack waits until the backend is up, has told of the gap, and both directions go on.
func (o *outages) awaitBack(t *testing.T, s *outageSystem, m *outageMoment) {
	t.Helper()
	o.awaitUp(t, s)
	m.up = time.Now()
	within(t, outageBack(), s.name+" tells that it was deaf", func() error {
		o.takeGaps(t, s, m)
		if m.gap.Until.IsZero() {
			return errors.New("no gap is told")
		}
		return nil
	})
	published, heard := int(o.published.Load()), s.got.last()
	within(t, outageBack(), "both directions go on", func() error {
		if s.light.last() <= published || s.got.last() <= heard {
			return fmt.Errorf("%s has %d of %d, WAMP %d of %d", s.name, s.light.last(), o.published.Load(), s.got.last(), s.said.last())
		}
		return nil
	})
}

// takeGaps notes what has been told of gaps in the victim's feed, which are one if they
// are several. Nobody else has any.
func (o *outages) takeGaps(t *testing.T, victim *outageSystem, m *outageMoment) {
	t.Helper()
	for {
		var g outageGap
		select {
		case g = <-o.gaps:
		default:
			return
		}
		switch {
		case g.Backend != victim.name:
			t.Errorf("a gap is told of %s, which was there all the time: %+v", g.Backend, g)
		case m.gap.Until.IsZero():
			m.gap = g
		default:
			m.gap.Until = g.Until
		}
		equal(t, "topic of the gap", g.Topic, victim.name+":"+victim.topic("feed"))
	}
}

// settle waits until all that was published is where it should be, or counted as lost.
// Nobody publishes any more.
func (o *outages) settle(t *testing.T, victim *outageSystem) {
	t.Helper()
	victim.speak() // the last thing said is heard: the bridge listens again
	last := int(o.published.Load())
	within(t, outageBack(), "everything is carried or counted", func() error {
		now := o.counts(t)
		for _, s := range o.systems {
			light, safe := now[s.name+"-light"], now[s.name+"-safe"]
			switch {
			case outageSum(light) != int64(last):
				return fmt.Errorf("%d were published, and counted are %+v", last, light)
			case s.light.last() != last || len(s.safe.missing(1, last)) > 0:
				return fmt.Errorf("%d were published, %s has %d, safe %d: %+v", last, s.name, s.light.last(), len(s.safe.arrived()), safe)
			case s.said.last() != s.next || s.got.last() != s.next:
				return fmt.Errorf("%s has said %d of %d, WAMP has %d", s.name, s.said.last(), s.next, s.got.last())
			}
		}
		return nil
	})
}

func outageSum(r routeStatus) int64 { return r.Carried + r.Refused + r.Dropped + r.Failed }

// counts are what the status tells of the routes.
func (o *outages) counts(t *testing.T) map[string]routeStatus {
	t.Helper()
	all := map[string]routeStatus{}
	for _, r := range o.b.status(t).Routes {
		all[r.Name] = r
	}
	return all
}

// account compares the counters with what the clients have.
func (o *outages) account(t *testing.T, victim *outageSystem, before map[string]routeStatus, first int, m *outageMoment) {
	t.Helper()
	o.takeGaps(t, victim, m)
	last, after := int(o.published.Load()), o.counts(t)
	for _, s := range o.systems {
		for name, tally := range map[string]*outageTally{"safe": s.safe, "light": s.light, "feed": s.got} {
			if !slices.IsSorted(tally.arrived()) {
				t.Errorf("%s: the order of %s is not kept", s.name, name)
			}
			if twice := tally.twice(); twice > 0 && tally != s.safe {
				t.Errorf("%s: of %s, %d came twice", s.name, name, twice)
			}
		}
		was, is := before[s.name+"-light"], after[s.name+"-light"]
		told := int(outageSum(is) - is.Carried - outageSum(was) + was.Carried)
		missed, deaf := s.light.missing(first+1, last), s.unheard()
		if s != victim {
			if told != 0 || len(missed) != 0 || len(deaf) != 0 {
				t.Errorf("%s was there all the time: %d are counted as lost, %v are missed, %v were not heard", s.name, told, missed, deaf)
			}
			continue
		}
		// Of what was on its way at the kill nobody knows what became: it may be refused
		// and have arrived, or be carried, as far as the server has told, and have died with
		// it. On its way was what was published, and not seen yet.
		unsure := told - len(missed)
		if onTheWay := m.published - m.seen; unsure > onTheWay || -unsure > onTheWay {
			t.Errorf("%s: %d are counted as lost and the client misses %d, with %d on the way at the kill: %v", s.name, told, len(missed), onTheWay, missed)
		}
		s.checkGap(t, deaf, m)
		t.Logf("%s %s killed: down %s, up after %s; published %d: carried %d, counted as lost %d, missed by its client %d (difference %d, on the way were %d); durable: %d of %d, %d of them twice; not heard from its client %d, gap of %s",
			s.name, m.what, m.down(), outageSpan(m.at, m.up), last-first, is.Carried-was.Carried, told, len(missed), unsure, m.published-m.seen,
			len(s.safe.arrived()), last, s.safe.twice(), len(deaf), outageSpan(m.gap.Since, m.gap.Until))
	}
}

// checkGap checks that the gap told has in it what was said and not heard. What was said
// before the kill may have been on its way.
func (s *outageSystem) checkGap(t *testing.T, deaf []int, m *outageMoment) {
	t.Helper()
	if !m.back.IsZero() && len(deaf) < 3 {
		t.Errorf("%s: the bridge has heard what was said without it: missing are %v", s.name, deaf)
	}
	for _, n := range deaf {
		said := s.saidAt[n]
		late := said.After(m.at) && said.After(m.gap.Until)
		early := !m.back.IsZero() && said.After(m.back) && said.Before(m.gap.Since)
		if late || early {
			t.Errorf("%s: %d, said at %s, was not heard; the gap is told from %s to %s", s.name, n, said, m.gap.Since, m.gap.Until)
		}
	}
}

func (m *outageMoment) down() time.Duration {
	if m.back.IsZero() {
		return 0
	}
	return outageSpan(m.at, m.back)
}

func outageSpan(from, to time.Time) time.Duration { return to.Sub(from).Round(time.Millisecond) }

// unheard are the numbers that the client heard itself say and WAMP did not get, apart
// from those of former outages.
func (s *outageSystem) unheard() (deaf []int) {
	for _, n := range s.said.arrived() {
		if s.got.times(n) == 0 && !s.deaf[n] {
			s.deaf[n] = true
			deaf = append(deaf, n)
		}
	}
	return deaf
}

// outageTally is which numbers have come, and in which order.
type outageTally struct {
	mu    sync.Mutex
	order []int // of first arrivals
	came  map[int]int
}

func newOutageTally() *outageTally { return &outageTally{came: map[int]int{}} }

// add takes what has come. Texts that are no numbers count as -1, which nobody publishes.
func (c *outageTally) add(text string) {
	n, err := strconv.Atoi(text)
	if err != nil {
		n = -1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.came[n]++; c.came[n] == 1 {
		c.order = append(c.order, n)
	}
}

// last is the number that came last for the first time, or 0.
func (c *outageTally) last() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.order) == 0 {
		return 0
	}
	return c.order[len(c.order)-1]
}

// arrived are the numbers, in the order of their first arrivals.
func (c *outageTally) arrived() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.order)
}

func (c *outageTally) times(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.came[n]
}

// twice is how many came more than once.
func (c *outageTally) twice() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, times := range c.came {
		if times > 1 {
			n++
		}
	}
	return n
}

// missing are the numbers from first to last that have not come.
func (c *outageTally) missing(first, last int) (all []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := first; n <= last; n++ {
		if c.came[n] == 0 {
			all = append(all, n)
		}
	}
	return all
}
