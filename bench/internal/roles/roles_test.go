package roles

import (
	"bufio"
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/anybridge/anybridge/backends/redis/redistest"
)

// process is a role that runs inside the test.
type process struct {
	t     *testing.T
	stdin io.WriteCloser
	out   *json.Decoder
	ready Ready
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	in, stdin := io.Pipe()
	stdout, out := io.Pipe()
	ended := make(chan int, 1)
	go func() { ended <- Main(t.Context(), args, in, out); out.Close() }()
	p := &process{t: t, stdin: stdin, out: json.NewDecoder(bufio.NewReader(stdout))}
	if err := p.out.Decode(&p.ready); err != nil {
		t.Fatal(err)
	}
	if p.ready.Error != "" {
		t.Fatal(p.ready.Error)
	}
	t.Cleanup(func() {
		stdin.Close()
		if code := <-ended; code != 0 {
			t.Errorf("%s ended with %d", args[0], code)
		}
	})
	return p
}

func (p *process) do(c Command) Report {
	p.t.Helper()
	if err := json.NewEncoder(p.stdin).Encode(c); err != nil {
		p.t.Fatal(err)
	}
	var r Report
	if err := p.out.Decode(&r); err != nil {
		p.t.Fatal(err)
	}
	if r.Errors > 0 || r.Ops == 0 {
		p.t.Fatalf("report %+v", r)
	}
	return r
}

var short = Command{Do: Run, For: 50 * time.Millisecond}

func TestHTTPForwarderReachesTheCallee(t *testing.T) {
	callee := start(t, "callee-http")
	forwarder := start(t, "forward-http", "-to", "http://"+callee.ready.Addr)
	load := start(t, "load-http", "-addr", forwarder.ready.Addr, "-body", `{"args":[$A,$B]}`, "-sum", "-conns", "4")
	load.do(short)
	if r := load.do(short); r.P50 <= 0 || r.P99 < r.P50 || r.Elapsed < short.For {
		t.Errorf("report %+v", r)
	}
}

func TestWebSocketForwarderReachesTheCallee(t *testing.T) {
	callee := start(t, "callee-http")
	forwarder := start(t, "forward-ws", "-to", "http://"+callee.ready.Addr)
	start(t, "load-call", "-url", "ws://"+forwarder.ready.Addr+"/ws", "-procedure", "p", "-conns", "4").do(short)
}

func TestCallsThroughNexus(t *testing.T) {
	url := "ws://" + start(t, "nexus").ready.Addr + "/ws"
	for _, callee := range [][]string{{"json", "-serializer", "json"}, {"msgpack", "-serializer", "msgpack"}, {"nexus", "-nexus-client"}} {
		t.Run(callee[0], func(t *testing.T) {
			procedure := "p." + callee[0]
			start(t, append([]string{"callee-wamp", "-url", url, "-procedure", procedure}, callee[1:]...)...)
			start(t, "load-call", "-url", url, "-procedure", procedure, "-conns", "4").do(short)
			start(t, "load-call", "-url", url, "-procedure", procedure, "-conns", "4", "-nexus-client").do(short)
		})
	}
}

func TestFanoutCountsEveryDelivery(t *testing.T) {
	url := "ws://" + start(t, "nexus").ready.Addr + "/ws"
	for _, serializer := range []string{"json", "msgpack"} {
		load := start(t, "fanout", "-url", url, "-topic", "t."+serializer, "-subscribers", "10", "-serializer", serializer)
		load.do(short)
		if r := load.do(short); r.Ops%10 != 0 || r.P50 <= 0 {
			t.Errorf("report %+v", r)
		}
	}
}

func TestSinksCountWhatWasPublished(t *testing.T) {
	sink := start(t, "sink-http")
	forwarder := start(t, "forward-ws", "-to", "http://"+sink.ready.Addr)
	load := start(t, "load-publish", "-url", "ws://"+forwarder.ready.Addr+"/ws", "-topic", "t", "-feedback", sink.ready.Feedback, "-conns", "4")
	for range 2 {
		sent := load.do(short)
		got := sink.do(Command{Do: Drain, Expect: sent.Ops, Timeout: time.Second})
		if got.Ops != sent.Ops || got.P50 <= 0 {
			t.Errorf("sent %+v, got %+v", sent, got)
		}
	}
}

func TestMessagesThroughRedis(t *testing.T) {
	server := redistest.Start(t)
	sink := start(t, "sink-redis", "-addr", server.Addr, "-channel", "c")
	arrived := func(sent Report) {
		t.Helper()
		got := sink.do(Command{Do: Drain, Expect: sent.Ops, Timeout: 10 * time.Second})
		if got.Ops != sent.Ops || got.P50 <= 0 {
			t.Errorf("sent %+v, got %+v", sent, got)
		}
	}
	forwarder := start(t, "forward-redis", "-addr", server.Addr, "-channel", "c")
	arrived(start(t, "load-http", "-addr", forwarder.ready.Addr, "-body", `{"args":["$T"]}`, "-conns", "4").do(short))
	url := "ws://" + start(t, "nexus").ready.Addr + "/ws"
	for _, loop := range []string{"-pipeline=false", "-pipeline=true"} {
		topic := "t." + loop
		start(t, "loop-redis", "-url", url, "-topic", topic, "-addr", server.Addr, "-channel", "c", loop)
		arrived(start(t, "load-publish", "-url", url, "-topic", topic, "-feedback", sink.ready.Feedback, "-conns", "4").do(short))
	}
}

func TestTemplateAndStamp(t *testing.T) {
	got := parseTemplate(`{"args":[$A,$B]}`).append(nil, 1, 22)
	if string(got) != `{"args":[1,22]}` {
		t.Errorf("template = %s", got)
	}
	now := time.Now()
	b := appendStamp([]byte(`["`), now)
	stamp, ok := readStamp(append(b, `"]`...))
	if !ok || stamp.UnixNano() != now.UnixNano() {
		t.Errorf("stamp = %v, %v; want %v", stamp, ok, now)
	}
	if _, ok := readStamp([]byte(`["t=12"]`)); ok {
		t.Error("a cut stamp was accepted")
	}
}
