package tests

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"
)

var (
	killLoopKills = flag.Int("killloop.kills", 100, "how many processes TestKillLoop kills")
	killLoopSeed  = flag.Uint64("killloop.seed", 0, "repeats the kills of a former TestKillLoop, which tells its seed")
)

// TestKillLoop kills the bridge or its WAMP plugin at random moments, with apps and
// WAMP components at work that publish, subscribe and call, and then counts: whatever
// a client was told is done has been done, for everybody, in order where that was
// asked for, and at most once where it must not happen twice.
func TestKillLoop(t *testing.T) {
	kills, seed := *killLoopKills, *killLoopSeed
	if testing.Short() {
		kills = min(kills, 20)
	}
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat with -killloop.kills=%d -killloop.seed=%d", kills, seed)
	l := startKillLoop(t, rand.New(rand.NewPCG(seed, 0)))

	load, endLoad := context.WithCancel(t.Context())
	defer endLoad()
	var clients sync.WaitGroup
	for _, p := range l.publishers {
		clients.Go(func() { p.run(load, l.b) })
	}
	for _, c := range l.callers {
		clients.Go(func() { c.run(load, l.b) })
	}
	plan := planKills(l.random, kills)
	l.kill(t, plan[:kills/2])
	clients.Go(func() { l.lateError = l.subscribeLate(load) })
	l.kill(t, plan[kills/2:])
	time.Sleep(calm)
	l.ended = time.Now()
	endLoad()
	clients.Wait()

	l.settle(t)
	l.check(t)
	l.report(t)
}

// calm is how long everybody goes on after the last kill: what happens then cannot be
// blamed on one.
const calm = 2 * time.Second

// killLoop is a bridge with everybody who uses it.
type killLoop struct {
	b           *bridge
	random      *rand.Rand
	publishers  []*publisher
	subscribers []*subscriber
	callers     []*caller
	calls       *calls
	kills       []kill
	ended       time.Time // the load

	late        *subscriber // subscribes while the loop runs
	lateOptions object
	lateURL     string
	lateError   error
}

// Procedures of the loop.
const (
	wampProcedure = "com.kill.call.wamp"
	httpProcedure = "com.kill.call.http"
	lateProcedure = "com.kill.call.late"
)

// startKillLoop starts a bridge, and subscribes and registers everything once.
func startKillLoop(t *testing.T, random *rand.Rand) *killLoop {
	const free, line = "com.kill.free.", "com.kill.line." // topics that somebody wants in order are in line
	l := &killLoop{random: random, subscribers: []*subscriber{
		{name: "everything", token: theToken, pattern: "com.kill.", match: "prefix"},
		{name: "free", token: theToken, pattern: free, match: "prefix"},
		{name: "free one", token: theToken, pattern: free + "http0", match: "exact"},
		{name: "line", token: theToken, pattern: line, match: "prefix", ordered: true},
		{name: "line one", token: theToken, pattern: line + "http0", match: "exact", ordered: true},
		{name: "line too", token: "the-token-of-another", pattern: line, match: "prefix", ordered: true},
		{name: "late", token: "the-token-of-who-is-late", pattern: free, match: "prefix"},
	}}
	for n := range 4 {
		name := fmt.Sprintf("http%d", n)
		l.publishers = append(l.publishers, &publisher{name: "free-" + name, topic: free + name, pace: 15 * time.Millisecond, keyed: n%2 == 1})
	}
	for n := range 2 {
		name := fmt.Sprintf("http%d", n)
		l.publishers = append(l.publishers, &publisher{name: "line-" + name, topic: line + name, pace: 120 * time.Millisecond, keyed: n%2 == 1})
	}
	l.publishers = append(l.publishers,
		&publisher{name: "free-wamp", topic: free + "wamp", pace: 20 * time.Millisecond, wamp: true},
		&publisher{name: "line-wamp", topic: line + "wamp", pace: 150 * time.Millisecond, wamp: true})

	l.b = startBridge(t, setup{listen: quietAddress(t), wampListen: quietAddress(t), tokens: map[string]string{
		"another": "the-token-of-another", "late": "the-token-of-who-is-late"}})
	newFlaky := func() flaky { return flaky{random: rand.New(rand.NewPCG(random.Uint64(), 0))} }
	apps := map[string]*app{}
	for n, s := range l.subscribers {
		s.arrivals, s.flaky = map[tag][]arrival{}, newFlaky()
		if apps[s.token] == nil {
			apps[s.token] = startApp(t, s.token)
		}
		url := apps[s.token].uncounted(fmt.Sprintf("/subscriber%d", n), s.view)
		options := object{"url": url, "match": s.match, "ordered": s.ordered, "retry": shortRetry()}
		if s.name == "late" {
			l.late, l.lateOptions = s, options
			continue
		}
		rest{url: l.b.URL, token: s.token}.subscribe(t, object{s.pattern: options})
	}

	l.calls = &calls{runs: map[tag]int{}, outcomes: map[string][]string{}, answered: map[string]bool{}, flaky: newFlaky()}
	ours := apps[theToken]
	outcomes := ours.uncounted("/outcome", l.calls.view)
	l.lateURL = apps[l.late.token].uncounted("/late", nameOf)
	l.b.register(t, object{httpProcedure: ours.uncounted("/procedure", func(c callback) response {
		l.calls.run(c.Args)
		return echo(c)
	})})
	for n, procedure := range []string{wampProcedure, httpProcedure, wampProcedure, httpProcedure} {
		l.callers = append(l.callers, &caller{
			name: fmt.Sprintf("caller%d", n), procedure: procedure, pace: 60 * time.Millisecond, keyed: n >= 2, url: outcomes})
	}
	serving, leave := context.WithCancel(context.Background())
	var callee sync.WaitGroup
	callee.Go(func() { serveCallee(serving, l.b, wampProcedure, l.calls.run) })
	t.Cleanup(func() {
		leave()
		callee.Wait()
	})
	return l
}

// kill is one that has happened.
type kill struct {
	planned
	at, gone time.Time     // of the process
	back     time.Duration // until everything was there again; 0: it was killed before
}

// planned is one that is going to happen.
type planned struct {
	victim  string
	pause   time.Duration // since the one before is over
	atStart bool          // the bridge is killed while it still starts
}

// The victims.
const theBridge, thePlugin = "bridge", "plugin"

func planKills(random *rand.Rand, count int) []planned {
	plan := make([]planned, count)
	for n := range plan {
		p := planned{victim: theBridge, pause: time.Duration(random.Int64N(int64(600 * time.Millisecond)))}
		switch chance := random.IntN(10); {
		case chance < 4:
			p.victim = thePlugin
		case chance < 6 && n > 0 && n < count-1 && plan[n-1].victim == theBridge:
			p.atStart, p.pause = true, p.pause/8
		}
		plan[n] = p
	}
	return plan
}

// kill does what was planned, and has everything come back after each kill.
func (l *killLoop) kill(t *testing.T, plan []planned) {
	t.Helper()
	for n, p := range plan {
		time.Sleep(p.pause) // the pace of the kills
		k := kill{planned: p, at: time.Now()}
		if p.victim == thePlugin {
			pid := l.b.pluginPID(t)
			k.at = time.Now()
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, "there is another plugin", func() error {
				if s := l.b.status(t).Backends[0]; s.State != "up" || s.Process.PID == pid {
					return fmt.Errorf("its process is %d, and it is %s", s.Process.PID, s.State)
				}
				return nil
			})
			k.gone = k.at
		} else {
			if err := l.b.process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-l.b.exited
			k.gone = time.Now()
			l.b.launch(t)
			if n+1 < len(plan) && plan[n+1].atStart {
				l.kills = append(l.kills, k)
				continue
			}
			l.b.serving(t)
			l.b.waitReady(t)
		}
		k.back = time.Since(k.at)
		l.kills = append(l.kills, k)
	}
}

// subscribeLate subscribes and registers while processes are killed: once it was told
// that it is done, it stays.
func (l *killLoop) subscribeLate(ctx context.Context) error {
	client := rest{url: l.b.URL, token: l.late.token}
	insist := func(path string, endpoints object) error {
		for {
			a, err := client.send(ctx, http.MethodPost, path, object{"endpoints": endpoints})
			if outcomeOf(a, err) == acknowledged {
				return nil
			}
			select {
			case <-time.After(10 * time.Millisecond): // the pace of somebody who tries again
			case <-ctx.Done():
				return fmt.Errorf("%s is not acknowledged before the loop ends: %d %s %w", path, a.Status, a.Body, err)
			}
		}
	}
	if err := insist("/subscribe/", object{l.late.pattern: l.lateOptions}); err != nil {
		return err
	}
	l.late.mu.Lock()
	l.late.since = time.Now()
	l.late.mu.Unlock()
	return insist("/register/", object{lateProcedure: l.lateURL})
}

// settle waits until nothing is owed any more.
func (l *killLoop) settle(t *testing.T) {
	t.Helper()
	if l.lateError != nil {
		t.Fatal(l.lateError)
	}
	deadline := time.Now().Add(settleTime)
	for {
		var missing []string
		for _, s := range l.subscribers {
			missing = append(missing, s.missing(l.publishers)...)
		}
		missing = append(missing, l.calls.missing(l.callers)...)
		if pending := l.b.status(t).Engine.Counters["pending_now"]; pending > 0 {
			missing = append(missing, fmt.Sprintf("%d deliveries are pending", pending))
		}
		switch {
		case len(missing) == 0:
			return
		case time.Now().After(deadline):
			complain(t, missing)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// settleTime bounds what is left to do after the loop. An endpoint that was taken for
// down is tried again after five seconds or, when that fails, ten.
const settleTime = 30 * time.Second

// complain fails the test with the first few of many problems.
func complain(t *testing.T, problems []string) {
	t.Helper()
	const few = 5
	for _, p := range problems[:min(few, len(problems))] {
		t.Error(p)
	}
	if more := len(problems) - few; more > 0 {
		t.Errorf("and %d more like that", more)
	}
}

// longestSilence bounds how long nothing comes: the time in which an endpoint is taken
// for down, and some kills.
const longestSilence = 15 * time.Second

// check compares what has happened with what was promised.
func (l *killLoop) check(t *testing.T) {
	t.Helper()
	for _, s := range l.subscribers {
		complain(t, s.wrong(l.publishers))
		_, _, unexplained := s.duplicates(l.publishers, l.kills)
		complain(t, unexplained)
		if silence := s.silence(l.ended); silence > longestSilence {
			t.Errorf("%s was sent nothing for %s, whatever was published", s.name, silence.Round(time.Second))
		}
	}
	wrong, _ := l.calls.wrong(l.callers)
	complain(t, wrong)

	s := l.b.status(t)
	equal(t, "dead letters", s.Engine.DeadLetters, 0)
	equal(t, "subscriptions", s.Subscriptions, len(l.subscribers))
	equal(t, "registrations", s.Registrations, 2)
	sameJSON(t, "the late procedure", l.b.call(t, lateProcedure, object{}).Args, raw([]any{lateProcedure}))
}

// quietAddress is a loopback address that stays free while nobody listens there: the
// system gives ports below 32768 to no client.
func quietAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}
