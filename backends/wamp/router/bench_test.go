package router

import (
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anybridge/anybridge/backends/wamp/wire"
	nexus "github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gorilla/websocket"
)

// A benchSystem is a router to be measured: ours, or nexus with its own server.
type benchSystem struct {
	name  string
	start func(b *testing.B) (url string)
}

func benchSystems() []benchSystem {
	return []benchSystem{
		{"ours", func(b *testing.B) string {
			b.Helper()
			return start(b, Config{Anonymous: everything()}).URLs()[0]
		}},
		{"nexus", func(b *testing.B) string {
			b.Helper()
			n, err := nexus.NewRouter(&nexus.Config{RealmConfigs: []*nexus.RealmConfig{{URI: "realm1", AnonymousAuth: true}}}, log.New(io.Discard, "", 0))
			if err != nil {
				b.Fatal(err)
			}
			server := httptest.NewServer(nexus.NewWebsocketServer(n))
			b.Cleanup(func() {
				n.Close()
				server.Close()
			})
			return "ws" + strings.TrimPrefix(server.URL, "http") + "/ws"
		}},
	}
}

// benchPeer is a client that costs as little as it can.
func benchPeer(b *testing.B, u string, ser wire.Serialization) *peer {
	b.Helper()
	d := websocket.Dialer{Subprotocols: []string{ser.Subprotocol()}}
	ws, _, err := d.Dial(u, nil)
	if err != nil {
		b.Fatal(err)
	}
	p := &peer{t: b, tr: transport{ser: ser}, ws: ws, conn: ws.NetConn(), waits: time.Hour}
	b.Cleanup(p.close)
	p.enter(hello("realm1", nil))
	return p
}

// countFrames calls got for every WebSocket frame that comes, without looking into
// it.
func countFrames(c net.Conn, got func()) {
	_ = c.SetReadDeadline(time.Time{})
	buf := make([]byte, 0, 64<<10)
	for {
		n, err := c.Read(buf[len(buf):cap(buf)])
		if err != nil {
			return
		}
		buf = buf[:len(buf)+n]
		at := 0
		for {
			rest := buf[at:]
			if len(rest) < 4 {
				break
			}
			size := 2 + int(rest[1])
			if rest[1] == 126 {
				size = 4 + int(binary.BigEndian.Uint16(rest[2:]))
			}
			if len(rest) < size {
				break
			}
			at += size
			got()
		}
		buf = buf[:copy(buf, buf[at:])]
	}
}

// BenchmarkFanOut publishes events of 100 bytes to many subscribers: one operation is
// one event at all of them. At most 32 events are on their way, so that nexus does
// not drop any.
func BenchmarkFanOut(b *testing.B) {
	const window = 32
	for _, ser := range []wire.Serialization{wire.JSON, wire.CBOR} {
		for _, subscribers := range []int{100, 1000} {
			for _, system := range benchSystems() {
				b.Run(fmt.Sprintf("%s/1to%d/%s", ser, subscribers, system.name), func(b *testing.B) {
					at := system.start(b)
					var batch sync.WaitGroup
					for range subscribers {
						p := benchPeer(b, at, ser)
						p.subscribe("com.topic", nil)
						left := 0
						go countFrames(p.conn, func() {
							if left++; left == window {
								left = 0
								batch.Done()
							}
						})
					}
					pub := benchPeer(b, at, ser)
					frame, err := wire.Append(nil, ser, &wamp.Publish{Request: 1, Topic: "com.topic", Arguments: wamp.List{strings.Repeat("x", 100)}})
					if err != nil {
						b.Fatal(err)
					}
					b.ResetTimer()
					cpu := cpuTime()
					events := 0
					for events < b.N {
						batch.Add(subscribers)
						for range window {
							if err := pub.write(frame); err != nil {
								b.Fatal(err)
							}
						}
						events += window
						batch.Wait()
					}
					b.StopTimer()
					b.ReportMetric(float64(events*subscribers)/b.Elapsed().Seconds(), "deliveries/s")
					b.ReportMetric(float64(cpuTime()-cpu)/float64(events*subscribers), "cpu-ns/delivery")
				})
			}
		}
	}
}

// BenchmarkCall measures a round trip from a caller to a callee and back, one at a
// time and 64 at a time.
func BenchmarkCall(b *testing.B) {
	for _, inFlight := range []int{1, 64} {
		for _, system := range benchSystems() {
			b.Run(fmt.Sprintf("%dinflight/%s", inFlight, system.name), func(b *testing.B) {
				at := system.start(b)
				callee, caller := benchPeer(b, at, wire.JSON), benchPeer(b, at, wire.JSON)
				callee.register("com.proc", nil)
				go func() {
					for {
						m, err := callee.read()
						if err != nil {
							return
						}
						if inv, ok := m.(*wamp.Invocation); ok {
							y, err := wire.Append(nil, wire.JSON, &wamp.Yield{Request: inv.Request, Arguments: inv.Arguments})
							if err != nil || callee.write(y) != nil {
								return
							}
						}
					}
				}()
				arg := strings.Repeat("x", 100)
				b.ResetTimer()
				cpu := cpuTime()
				asked, answered := 0, 0
				for answered < b.N {
					for asked < b.N && asked-answered < inFlight {
						caller.call("com.proc", nil, arg)
						asked++
					}
					expect[*wamp.Result](caller)
					answered++
				}
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
				b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N), "cpu-ns/call")
			})
		}
	}
}

// BenchmarkIdleSession measures what a session costs that does nothing: bytes of heap
// and stack, this side and the client's together.
func BenchmarkIdleSession(b *testing.B) {
	for _, system := range benchSystems() {
		b.Run(system.name, func(b *testing.B) {
			at := system.start(b)
			const sessions = 500
			var conns []net.Conn
			before := memory()
			for range sessions {
				p := benchPeer(b, at, wire.JSON)
				conns = append(conns, p.conn)
			}
			for b.Loop() {
			}
			b.ReportMetric(float64(memory()-before)/sessions, "B/session")
			b.ReportMetric(0, "ns/op")
			for _, c := range conns {
				_ = c.Close()
			}
		})
	}
}

func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// cpuTime is what the process has used so far, clients included: on a busy machine
// it tells more than the clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
