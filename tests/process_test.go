package tests

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	nexus "github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

// freeAddress is a loopback address on which nothing listens.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestAKilledPluginIsBackWithEverythingInASecond kills the WAMP plugin while 64
// callers are busy.
func TestAKilledPluginIsBackWithEverythingInASecond(t *testing.T) {
	// The port must be the same afterwards, so that WAMP clients find the router again.
	b := startBridge(t, setup{wampListen: freeAddress(t)})
	const many = 20
	app := startApp(t, theToken)
	procedures, topics := object{}, object{}
	for n := range many {
		procedures[fmt.Sprintf("com.kill.procedure%d", n)] = app.view(fmt.Sprintf("/procedure%d", n), nameOf)
		topics[fmt.Sprintf("com.kill.topic%d", n)] = app.view(fmt.Sprintf("/topic%d", n), nil)
	}
	procedures["com.kill.prefix"] = object{"url": app.view("/prefix", nameOf), "match": "prefix"}
	topics["com.kill..wildcard"] = object{"url": app.view("/wildcard", nil), "match": "wildcard"}
	procedures["com.kill.busy"] = app.uncounted("/busy", nil)
	b.register(t, procedures)
	b.subscribe(t, topics)
	var components []*component
	called := []string{"com.kill.busy"}
	for _, c := range []client{
		{library: "asyncio", transport: "websocket", serializer: "cbor"},
		{library: "twisted", transport: "rawsocket", serializer: "msgpack"},
		{library: "node", transport: "websocket", serializer: "json"},
	} {
		c := c.start(t, b)
		components, called = append(components, c), append(called, c.name+".echo")
	}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	callers := startCallers(ctx, b, 64, called)
	eventually(t, "all callers are busy", func() error { return callers.progress(1000) })

	pid := b.pluginPID(t)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	waitGone(t, pid, time.Second)
	within(t, time.Second-time.Since(killed), "an app's procedure can be called again", func() error {
		a, err := b.send(t.Context(), http.MethodPost, "/call/com.kill.procedure0/", object{})
		if err == nil && a.Status != http.StatusOK {
			err = fmt.Errorf("%d %s", a.Status, a.Body)
		}
		return err
	})
	t.Logf("back after %s", time.Since(killed).Round(time.Millisecond))

	for n := range many {
		name := fmt.Sprintf("com.kill.procedure%d", n)
		sameJSON(t, name, b.call(t, name, object{}).Args, raw([]any{name}))
	}
	sameJSON(t, "the prefix", b.call(t, "com.kill.prefix.any", object{}).Args, raw([]any{"com.kill.prefix.any"}))
	for n := range many {
		b.publish(t, fmt.Sprintf("com.kill.topic%d", n), object{"args": []any{n}})
		sameJSON(t, "event", app.next(t, fmt.Sprintf("/topic%d", n)).Args, raw([]any{n}))
	}
	b.publish(t, "com.kill.any.wildcard", object{})
	app.next(t, "/wildcard")

	for _, c := range components {
		c.awaitOn(t, "ready") // again: Autobahn reconnects by itself
		b.call(t, c.name+".echo", object{})
		c.call(t, "com.kill.procedure1", []any{}, nil)
		b.publish(t, c.name+".news", object{"args": []any{"again"}})
		sameJSON(t, "event", c.event(t, "news").Args, raw([]any{"again"}))
	}
	eventually(t, "the callers go on", func() error { return callers.progress(500) })

	stop()
	callers.check(t)
	s := b.status(t)
	if s.Backends[0].Process.PID == pid || s.Backends[0].Process.Restarts != 1 {
		t.Errorf("the process after one kill: %+v", s.Backends[0].Process)
	}
	equal(t, "registrations", s.Registrations, many+2)
	equal(t, "subscriptions", s.Subscriptions, many+1)
}

// callers call procedures over HTTP without a pause.
type callers struct {
	wg      sync.WaitGroup
	done    atomic.Int64 // answered calls
	mark    atomic.Int64 // what progress has seen
	mu      sync.Mutex
	answers map[int]int // by status
	slowest time.Duration
	failed  []error // calls that were not answered
	strange []string
}

func startCallers(ctx context.Context, b *bridge, count int, procedures []string) *callers {
	c := &callers{answers: map[int]int{}}
	for n := range count {
		c.wg.Go(func() {
			for ctx.Err() == nil {
				c.call(ctx, b, procedures[n%len(procedures)])
			}
		})
	}
	return c
}

func (c *callers) call(ctx context.Context, b *bridge, procedure string) {
	// Not ctx itself: the last call of each caller is answered too.
	one, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	began := time.Now()
	a, err := b.send(one, http.MethodPost, "/call/"+procedure+"/", object{"args": []any{"x"}})
	took := time.Since(began)
	c.done.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slowest = max(c.slowest, took)
	if err != nil {
		c.failed = append(c.failed, err)
		return
	}
	c.answers[a.Status]++
	switch a.Status {
	case http.StatusOK:
	case http.StatusServiceUnavailable, http.StatusNotFound: // the router is away; it does not know the component yet
		time.Sleep(time.Millisecond) // as a sensible caller would
	default:
		if len(c.strange) < 3 {
			c.strange = append(c.strange, fmt.Sprintf("%s: %d %s", procedure, a.Status, a.Body))
		}
	}
}

// progress succeeds when so many more calls were answered.
func (c *callers) progress(more int64) error {
	if done := c.done.Load(); done < c.mark.Load()+more {
		return fmt.Errorf("%d calls answered", done)
	}
	c.mark.Store(c.done.Load())
	return nil
}

// check waits for the last calls and fails the test if one was not answered.
func (c *callers) check(t *testing.T) {
	t.Helper()
	c.wg.Wait()
	t.Logf("answers by status: %v; the slowest took %s", c.answers, c.slowest.Round(time.Millisecond))
	if len(c.failed) > 0 {
		t.Errorf("%d calls were not answered, the first: %v", len(c.failed), c.failed[0])
	}
	if c.slowest > 5*time.Second {
		t.Errorf("a call hung for %s", c.slowest)
	}
	for _, strange := range c.strange {
		t.Errorf("an answer that a caller does not expect: %s", strange)
	}
}

// TestAKilledBridgeLeavesNoProcessBehind kills the bridge, not its plugin.
func TestAKilledBridgeLeavesNoProcessBehind(t *testing.T) {
	t.Parallel()
	b := startBridge(t, setup{})
	children := append(childrenOf(b.process.Pid), b.pluginPID(t))
	if err := b.process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.waitExit(patience)
	for _, pid := range children {
		waitGone(t, pid, 2*time.Second)
	}
	within(t, 2*time.Second, "the router's port is free", func() error {
		l, err := net.Listen("tcp", b.Raw)
		if err == nil {
			err = l.Close()
		}
		return err
	})
}

// TestSIGTERMAnswersWhatIsInFlight stops the bridge under a call over HTTP to an app,
// one over HTTP to a WAMP component, and one of the component to the app.
func TestSIGTERMAnswersWhatIsInFlight(t *testing.T) {
	t.Parallel()
	b := startBridge(t, setup{})
	release := make(chan struct{})
	app := startApp(t, theToken)
	slow := func(callback) response {
		<-release
		return response{http.StatusOK, "", "in time"}
	}
	b.register(t, object{"com.drain.app": app.view("/slow", slow), "com.drain.app2": app.view("/slow2", slow)})
	session := connectNexus(t, b.WS, "json")
	asked := make(chan struct{})
	err := session.Register("com.drain.component", func(context.Context, *wamp.Invocation) nexus.InvokeResult {
		close(asked)
		<-release
		return nexus.InvokeResult{Args: wamp.List{"in time"}}
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, procedure := range []string{"com.drain.app", "com.drain.component"} {
		wg.Go(func() {
			a, err := b.send(t.Context(), http.MethodPost, "/call/"+procedure+"/", object{})
			if err != nil || a.Status != http.StatusOK || describeJSON(a.Body) != `{"args":["in time"],"kwargs":{}}` {
				t.Errorf("the call of %s over HTTP: %v %d %s", procedure, err, a.Status, a.Body)
			}
		})
	}
	wg.Go(func() {
		result, err := session.Call(t.Context(), "com.drain.app2", nil, nil, nil, nil)
		if err != nil || describe(plain(result.Arguments)) != `["in time"]` {
			t.Errorf("the component's call: %v %v", result, err)
		}
	})
	app.next(t, "/slow")
	app.next(t, "/slow2")
	<-asked
	if err := b.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no new connection is taken", func() error {
		if c, err := net.DialTimeout("tcp", b.URL[len("http://"):], time.Second); err == nil {
			c.Close()
			return fmt.Errorf("%s still listens", b.URL)
		}
		return nil
	})
	close(release)
	wg.Wait()
	if !b.waitExit(patience) {
		t.Fatal("anybridge does not end")
	}
	if b.err != nil {
		t.Errorf("anybridge ended with %v, want exit code 0", b.err)
	}
}

// TestARevokedTokenLosesWhatItHeldAtOnce takes a token out of the configuration.
func TestARevokedTokenLosesWhatItHeldAtOnce(t *testing.T) {
	reloads := map[string]func(*testing.T, *bridge){
		"by SIGHUP": func(t *testing.T, b *bridge) {
			if err := b.process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		},
		"by POST reload": func(t *testing.T, b *bridge) {
			b.post(t, "/reload/", object{}).want(t, http.StatusOK)
		},
	}
	for name, reload := range reloads {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBridge(t, setup{tokens: map[string]string{"guest": "the-token-of-a-guest"}})
			guest := rest{url: b.URL, token: "the-token-of-a-guest"}
			theirs, ours := startApp(t, guest.token), startApp(t, theToken)
			guest.register(t, object{"com.revoke.theirs": theirs.view("/call", nameOf)})
			guest.subscribe(t, object{"com.revoke.news": theirs.view("/news", nil)})
			b.register(t, object{"com.revoke.ours": ours.view("/call", nameOf)})
			b.subscribe(t, object{"com.revoke.news": ours.view("/news", nil)})
			b.call(t, "com.revoke.theirs", object{})
			b.publish(t, "com.revoke.news", object{"args": []any{"before"}})
			theirs.next(t, "/news")
			ours.next(t, "/news")

			plugin := b.pluginPID(t)
			b.configure(t, setup{})
			reload(t, b)
			within(t, time.Second, "the token is unknown", func() error {
				a, err := guest.send(t.Context(), http.MethodPost, "/publish/com.revoke.probe/", object{})
				if err == nil && a.Status != http.StatusUnauthorized {
					err = fmt.Errorf("%d %s", a.Status, a.Body)
				}
				return err
			})
			within(t, time.Second, "what it held is gone", func() error {
				if s := b.status(t); s.Registrations != 1 || s.Subscriptions != 1 {
					return fmt.Errorf("%d registrations and %d subscriptions, want 1 and 1", s.Registrations, s.Subscriptions)
				}
				return nil
			})
			equal(t, "status of a call to its procedure", b.post(t, "/call/com.revoke.theirs/", object{}).Status, http.StatusNotFound)
			for n := range 3 {
				b.publish(t, "com.revoke.news", object{"args": []any{n}})
				sameJSON(t, "an event for who stayed", ours.next(t, "/news").Args, raw([]any{n}))
			}
			theirs.none(t, "/news")
			sameJSON(t, "a procedure of who stayed", b.call(t, "com.revoke.ours", object{}).Args, raw([]any{"com.revoke.ours"}))
			equal(t, "the plugin's process", b.pluginPID(t), plugin) // what did not change goes on
		})
	}
}

// TestABadConfigurationIsRefusedWholeOnReload leaves everything as it was, whether
// the mistake can be read in the file or shows only when it is applied.
func TestABadConfigurationIsRefusedWholeOnReload(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	for name, listen := range map[string]string{
		"an address that is none":  "nonsense",
		"an address that is taken": taken.Addr().String(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBridge(t, setup{tokens: map[string]string{"guest": "the-token-of-a-guest"}})
			guest := rest{url: b.URL, token: "the-token-of-a-guest"}
			app := startApp(t, guest.token)
			guest.register(t, object{"com.reload.kept": app.view("/call", nameOf)})
			plugin := b.pluginPID(t)
			b.configure(t, setup{wampListen: listen}) // and without the guest

			refused := b.post(t, "/reload/", object{})
			if got := refused.want(t, refused.Status); refused.Status < 400 || got.Type == "urn:anybridge:error:internal" || got.Detail == "" {
				t.Errorf("answer to the reload: %d %s", refused.Status, refused.Body)
			}
			if err := b.process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the log tells of the second refusal", func() error {
				if n := strings.Count(b.log.String(), listen); n < 1 {
					return fmt.Errorf("it names %s %d times", listen, n)
				}
				return nil
			})
			sameJSON(t, "the guest's procedure", guest.call(t, "com.reload.kept", object{}).Args, raw([]any{"com.reload.kept"}))
			equal(t, "the plugin's process", b.pluginPID(t), plugin)
			if s := b.status(t); len(s.Backends[0].Listen) == 0 || s.Backends[0].Listen[0] != b.WS {
				t.Errorf("the router now listens at %v", s.Backends[0].Listen)
			}
			client{library: "nexus", transport: "websocket", serializer: "json"}.start(t, b).call(t, "com.reload.kept", []any{}, nil)

			// A good configuration is taken afterwards.
			b.configure(t, setup{})
			b.post(t, "/reload/", object{}).want(t, http.StatusOK)
			equal(t, "status for the guest", guest.post(t, "/call/com.reload.kept/", object{}).Status, http.StatusUnauthorized)
		})
	}
}
