package tests

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The load of TestDeadEndpointsSlowNoOthers.
const (
	healthyApps  = 1000
	deadApps     = 100
	healthyRate  = 300 // events a second, each for one app
	deadRate     = 100
	isolationRun = 8 * time.Second
	warmUp       = 3 * time.Second
)

// The bounds: what a callback may take longer beside dead apps, in the worst of a
// hundred cases, and the memory of the bridge. The constants allow for a machine
// that is busy with other things.
const (
	slowerFactor   = 2
	slowerConstant = 50 * time.Millisecond
	moreMemory     = 128 << 20
)

// TestDeadEndpointsSlowNoOthers has 1,000 apps get events while 100 others refuse
// connections, never answer, reset connections, or answer one byte a second.
func TestDeadEndpointsSlowNoOthers(t *testing.T) {
	b := startBridge(t, setup{})
	apps := startStopwatch(t, 4)
	endpoints := object{}
	for n := range healthyApps {
		endpoints[healthyTopic(n)] = fmt.Sprintf("%s/%d", apps.urls[n%len(apps.urls)], n)
	}
	subscribeMany(t, b, endpoints)
	load(t, b, warmUp, healthyRate, 0)
	apps.take(t, warmUp)

	load(t, b, isolationRun, healthyRate, 0)
	alone := apps.take(t, isolationRun)
	before := residentBytes(t, b)

	endpoints = object{}
	for n, url := range deadURLs(t, deadApps) {
		endpoints[deadTopic(n)] = object{"url": url, "timeout": 2, "retry": []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}}
	}
	subscribeMany(t, b, endpoints)
	watch := watchMemory(t, b)
	defer watch()
	load(t, b, isolationRun, healthyRate, deadRate)
	beside := apps.take(t, isolationRun)
	most := watch()

	t.Logf("callbacks of healthy apps: %v alone, %v beside dead ones", alone, beside)
	t.Logf("memory: %d MiB before, %d MiB at most beside dead apps", before>>20, most>>20)
	if limit := slowerFactor*alone.p99 + slowerConstant; beside.p99 > limit {
		t.Errorf("p99 beside dead apps is %v, want at most %v", beside.p99, limit)
	}
	if most > before+moreMemory {
		t.Errorf("the bridge has grown from %d to %d MiB", before>>20, most>>20)
	}
}

func healthyTopic(n int) string { return "com.isolation.healthy." + strconv.Itoa(n) }
func deadTopic(n int) string    { return "com.isolation.dead." + strconv.Itoa(n) }

func subscribeMany(t *testing.T, b *bridge, endpoints object) {
	t.Helper()
	some := object{}
	for topic, endpoint := range endpoints {
		if some[topic] = endpoint; len(some) == 100 {
			b.subscribe(t, some)
			some = object{}
		}
	}
	if len(some) > 0 {
		b.subscribe(t, some)
	}
}

// load publishes at a steady pace: one event at a time, whose argument is the time.
func load(t *testing.T, b *bridge, d time.Duration, healthy, dead int) {
	t.Helper()
	topics := make(chan string, healthy+dead)
	var failed atomic.Pointer[string]
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for topic := range topics {
				answer, err := b.send(t.Context(), http.MethodPost, "/publish/"+topic+"/", object{"args": []int64{time.Now().UnixMicro()}})
				if err != nil || answer.Status != http.StatusOK {
					text := fmt.Sprintf("%d %s %v", answer.Status, answer.Body, err)
					failed.Store(&text)
				}
			}
		})
	}
	pace := func(rate int, topic func(n int) string) {
		if rate == 0 {
			return
		}
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for n := range rate * int(d/time.Second) {
			<-tick.C
			topics <- topic(n)
		}
	}
	var pacers sync.WaitGroup
	pacers.Go(func() { pace(healthy, func(n int) string { return healthyTopic(n % healthyApps) }) })
	pacers.Go(func() { pace(dead, func(n int) string { return deadTopic(n % deadApps) }) })
	pacers.Wait()
	close(topics)
	wg.Wait()
	if text := failed.Load(); text != nil {
		t.Fatalf("publish: %s", *text)
	}
}

// stopwatch are apps that note how long after its publication an event came.
type stopwatch struct {
	urls []string
	mu   sync.Mutex
	took []time.Duration
}

func startStopwatch(t *testing.T, servers int) *stopwatch {
	s := &stopwatch{}
	for range servers {
		server := httptest.NewServer(s)
		t.Cleanup(func() {
			server.CloseClientConnections()
			server.Close()
		})
		s.urls = append(s.urls, server.URL)
	}
	return s
}

func (s *stopwatch) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	body, err := io.ReadAll(r.Body)
	w.WriteHeader(http.StatusNoContent)
	_, after, _ := strings.Cut(string(body), `"args":[`)
	digits, _, _ := strings.Cut(after, "]")
	sent, badNumber := strconv.ParseInt(digits, 10, 64)
	if err != nil || badNumber != nil {
		return // it is missed
	}
	s.mu.Lock()
	s.took = append(s.took, now.Sub(time.UnixMicro(sent)))
	s.mu.Unlock()
}

// latencies are how long callbacks took.
type latencies struct{ p50, p99, most time.Duration }

func (l latencies) String() string {
	return fmt.Sprintf("p50 %v, p99 %v, at most %v", l.p50, l.p99, l.most)
}

// take waits for all callbacks of a run, and forgets them.
func (s *stopwatch) take(t *testing.T, run time.Duration) latencies {
	t.Helper()
	want := healthyRate * int(run/time.Second)
	eventually(t, "every healthy app has its events", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.took) < want {
			return fmt.Errorf("%d of %d callbacks", len(s.took), want)
		}
		return nil
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	took := s.took
	s.took = nil
	slices.Sort(took)
	return latencies{took[len(took)/2], took[len(took)*99/100], took[len(took)-1]}
}

// deadURLs are n endpoints that are dead in four ways, each on a port of its own.
func deadURLs(t *testing.T, n int) (urls []string) {
	for i := range n {
		var listen net.ListenConfig
		l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		urls = append(urls, "http://"+l.Addr().String()+"/")
		if i%4 == 0 {
			l.Close() // it refuses
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { serveDead(ctx, &wg, l, i%4) })
		t.Cleanup(func() {
			cancel()
			l.Close()
			wg.Wait()
		})
	}
	return urls
}

// serveDead answers no request: it hangs (1), resets the connection (2), or sends one
// byte a second (3).
func serveDead(ctx context.Context, wg *sync.WaitGroup, l net.Listener, how int) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		wg.Go(func() {
			defer stop()
			defer conn.Close()
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
				return
			}
			switch how {
			case 1:
				_, _ = io.Copy(io.Discard, conn)
			case 2:
				_ = conn.(*net.TCPConn).SetLinger(0)
			case 3:
				for _, c := range []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") {
					if _, err := conn.Write([]byte{c}); err != nil {
						return
					}
					select {
					case <-time.After(time.Second):
					case <-ctx.Done():
						return
					}
				}
			}
		})
	}
}

// residentBytes is the memory of the bridge's process, without its plugins.
func residentBytes(t testing.TB, b *bridge) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", b.process.Pid))
	if err != nil {
		t.Error(err)
		return 0
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		t.Errorf("%q: %v", text, err)
	}
	return resident * int64(os.Getpagesize())
}

// watchMemory looks at the bridge's memory until the function it returns is called,
// which returns the most there was.
func watchMemory(t *testing.T, b *bridge) func() int64 {
	t.Helper()
	stop, most := make(chan struct{}), make(chan int64)
	go func() {
		peak := int64(0)
		for {
			peak = max(peak, residentBytes(t, b))
			select {
			case <-stop:
				most <- peak
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return sync.OnceValue(func() int64 {
		close(stop)
		return <-most
	})
}
