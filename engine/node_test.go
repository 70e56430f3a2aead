package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/anybridge/anybridge/engine"
)

// nodeEnv holds the configuration of a node of a cluster that runNode is to be.
const nodeEnv = "ANYBRIDGE_TEST_NODE"

type nodeConfig struct {
	Name, Dir     string
	Port, Cluster int
	Routes        []string
}

// runNode is a NATS server in a cluster, until its standard input ends.
func runNode(conf string) {
	var c nodeConfig
	orDie(json.Unmarshal([]byte(conf), &c))
	o := &server.Options{
		ServerName: c.Name, Host: "127.0.0.1", Port: c.Port, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: c.Dir, JetStreamMaxStore: 1 << 30, JetStreamMaxMemory: 64 << 20,
		Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: c.Cluster},
	}
	for _, r := range c.Routes {
		u, err := url.Parse(r)
		orDie(err)
		o.Routes = append(o.Routes, u)
	}
	srv, err := server.NewServer(o)
	orDie(err)
	srv.Start()
	_, _ = io.Copy(io.Discard, os.Stdin)
	srv.Shutdown()
}

// cluster is three NATS servers on loopback, each a process.
type cluster struct {
	nodes []*natsNode
	url   string
}

type natsNode struct {
	config nodeConfig
	*child
}

// child is a process of the test program, which does not outlive it.
type child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan struct{}
}

// startChild starts the test program again, as what the variable says.
func startChild(t *testing.T, env string, conf any, stdout io.Writer) *child {
	t.Helper()
	data, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env+"="+string(data))
	cmd.Stdout, cmd.Stderr = stdout, os.Stderr
	in, err := cmd.StdinPipe() // its end ends the child
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd, stdin: in, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(c.ended)
	}()
	t.Cleanup(c.kill)
	return c
}

// kill ends the process the hard way.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.ended
	_ = c.stdin.Close()
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{}
	ports := freePorts(t, 6)
	var urls, routes []string
	for i := range 3 {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", ports[i]))
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[3+i]))
	}
	for i := range 3 {
		n := &natsNode{config: nodeConfig{Name: fmt.Sprintf("n%d", i), Dir: t.TempDir(), Port: ports[i], Cluster: ports[3+i], Routes: routes}}
		n.start(t)
		c.nodes = append(c.nodes, n)
	}
	c.url = strings.Join(urls, ",")
	c.ready(t)
	return c
}

func (n *natsNode) start(t *testing.T) { n.child = startChild(t, nodeEnv, n.config, io.Discard) }

func freePorts(t *testing.T, count int) (ports []int) {
	t.Helper()
	for range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// place is a store of its own on the cluster.
func (c *cluster) place(name string) place {
	return func(s engine.Sender) engine.Options {
		o := options("", s)
		o.URL, o.Name = c.url, name
		return o
	}
}

// ready waits until streams can be made.
func (c *cluster) ready(t *testing.T) {
	t.Helper()
	within(t, 30*time.Second, "the cluster is ready", func() bool {
		err := errDown
		c.admin(t, func(ctx context.Context, js jetstream.JetStream) {
			_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "READY", Subjects: []string{"ready"}, Replicas: 3})
			if err == nil {
				err = js.DeleteStream(ctx, "READY")
			}
		})
		return err == nil
	})
}

// admin talks to the cluster.
func (c *cluster) admin(t *testing.T, do func(ctx context.Context, js jetstream.JetStream)) {
	t.Helper()
	nc, err := nats.Connect(c.url)
	if err != nil {
		return // the caller's condition does not hold
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	do(ctx, js)
}

// peers returns the leader of a stream, and the followers that have all of it.
func (c *cluster) peers(t *testing.T, stream string) (leader *natsNode, current []*natsNode) {
	t.Helper()
	named := map[string]*natsNode{}
	for _, n := range c.nodes {
		named[n.config.Name] = n
	}
	c.admin(t, func(ctx context.Context, js jetstream.JetStream) {
		s, err := js.Stream(ctx, stream)
		if err != nil || s.CachedInfo().Cluster == nil {
			return
		}
		leader = named[s.CachedInfo().Cluster.Leader]
		for _, r := range s.CachedInfo().Cluster.Replicas {
			if r.Current && !r.Offline {
				current = append(current, named[r.Name])
			}
		}
	})
	return leader, current
}

// orDie ends a child process.
func orDie(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
