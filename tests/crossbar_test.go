package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	nexus "github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

// The bridge's credentials on Crossbar, one for each method. The private key is the
// seed of the public one in the configuration.
const (
	crossbarTicket = "ticket-of-the-bridge"
	crossbarSecret = "secret-of-the-bridge"
	crossbarSeed   = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60" // RFC 8032, section 7.1, test 1
	crossbarPublic = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
)

// crossbarConfig is a router with realm1, where WAMP clients are anonymous at
// /open and must authenticate at /ws.
func crossbarConfig(port int) string {
	everything := object{"uri": "", "match": "prefix", "allow": object{"call": true, "register": true, "publish": true, "subscribe": true}}
	static := func(v object) object {
		v["type"] = "static"
		return v
	}
	config := object{"version": 2, "controller": object{}, "workers": []object{{
		"type": "router",
		"realms": []object{{
			"name":  "realm1",
			"roles": []object{{"name": "app", "permissions": []object{everything}}},
		}},
		"transports": []object{{
			"type":     "web",
			"endpoint": object{"type": "tcp", "interface": "127.0.0.1", "port": port},
			"paths": object{
				"/":    object{"type": "static", "directory": "web"},
				"open": object{"type": "websocket", "auth": object{"anonymous": static(object{"role": "app"})}},
				"ws": object{"type": "websocket", "auth": object{
					"ticket":     static(object{"principals": object{"by-ticket": object{"ticket": crossbarTicket, "role": "app"}}}),
					"wampcra":    static(object{"users": object{"by-secret": object{"secret": crossbarSecret, "role": "app"}}}),
					"cryptosign": static(object{"principals": object{"by-key": object{"authorized_keys": []string{crossbarPublic}, "role": "app"}}}),
				}},
			},
		}},
	}}}
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		panic(err)
	}
	return string(text)
}

// crossbar is somebody else's router, which can be killed and started again.
type crossbar struct {
	program, dir, address string
	log                   logBuffer
	cmd                   *exec.Cmd
}

func startCrossbar(t *testing.T) *crossbar {
	t.Helper()
	program, err := filepath.Abs("../.tools/crossbar-venv/bin/crossbar")
	if err == nil {
		_, err = os.Stat(program)
	}
	if err != nil {
		if os.Getenv("ANYBRIDGE_TEST_CLIENTS") == "required" {
			t.Fatalf("Crossbar is missing (make setup installs it): %v", err)
		}
		t.Skipf("Crossbar is missing; make setup installs it: %v", err)
	}
	c := &crossbar{program: program, dir: t.TempDir(), address: freeAddress(t)}
	_, port, _ := net.SplitHostPort(c.address)
	var number int
	_, _ = fmt.Sscan(port, &number)
	if err := errors.Join(
		os.MkdirAll(filepath.Join(c.dir, "web"), 0o700),
		os.WriteFile(filepath.Join(c.dir, "config.json"), []byte(crossbarConfig(number)), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			t.Logf("what Crossbar said:\n%s", &c.log)
		}
	})
	c.start(t)
	return c
}

func (c *crossbar) start(t *testing.T) {
	t.Helper()
	c.cmd = exec.Command(c.program, "start", "--cbdir", c.dir, "--loglevel", "warn")
	c.cmd.Stdout, c.cmd.Stderr = &c.log, &c.log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it starts workers
	c.cmd.Env = append(os.Environ(), "CROSSBAR_DIR="+c.dir)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	within(t, 2*patience, "Crossbar listens", func() error {
		conn, err := net.Dial("tcp", c.address)
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// kill ends it and its workers as a power cut would.
func (c *crossbar) kill() {
	if c.cmd != nil {
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
		_ = c.cmd.Wait()
		_ = os.Remove(filepath.Join(c.dir, "node.pid"))
		c.cmd = nil
	}
}

// component joins without authentication and serves what the tests need.
func (c *crossbar) component(t *testing.T) *nexus.Client {
	t.Helper()
	var session *nexus.Client
	eventually(t, "a component joins", func() (err error) {
		session, err = nexus.ConnectNet(deadline(t), "ws://"+c.address+"/open", nexus.Config{Realm: "realm1", ResponseTimeout: patience})
		return err
	})
	t.Cleanup(func() { _ = session.Close() })
	echo := func(_ context.Context, inv *wamp.Invocation) nexus.InvokeResult {
		return nexus.InvokeResult{Args: inv.Arguments, Kwargs: inv.ArgumentsKw}
	}
	if err := session.Register("com.component.echo", echo, nil); err != nil {
		t.Fatal(err)
	}
	return session
}

// Every authentication method leads to a bridge that calls, serves, publishes and
// receives on Crossbar.
func TestSessionsOnCrossbar(t *testing.T) {
	c := startCrossbar(t)
	component := c.component(t)
	for _, tt := range []struct{ name, path, auth string }{
		{"anonymous", "open", `{method: anonymous}`},
		{"ticket", "ws", `{method: ticket, authid: by-ticket, ticket: ` + crossbarTicket + `}`},
		{"wampcra", "ws", `{method: wampcra, authid: by-secret, secret: ` + crossbarSecret + `}`},
		{"cryptosign", "ws", `{method: cryptosign, authid: by-key, private_key: "` + crossbarSeed + `"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := startBridge(t, setup{wamp: fmt.Sprintf(`{kind: wamp, url: "ws://%s/%s", realm: realm1, auth: %s}`, c.address, tt.path, tt.auth)})
			a := startApp(t, theToken)
			name := "com.app." + tt.name
			b.register(t, object{name: a.view("/echo", echo)})
			b.subscribe(t, object{name + ".events": a.view("/events", nil)})

			got := b.call(t, "com.component.echo", `{"args": [9007199254740993, "\u2028", null], "kwargs": {"k": []}}`)
			sameJSON(t, "args", got.Args, raw([]any{json.RawMessage("9007199254740993"), "\u2028", nil}))
			result, err := component.Call(deadline(t), name, nil, wamp.List{"ping"}, nil, nil)
			if err != nil || len(result.Arguments) == 0 {
				t.Fatalf("call of the app: %v, %v", result, err)
			}
			if err := component.Publish(name+".events", wamp.Dict{wamp.OptAcknowledge: true}, wamp.List{"news"}, nil); err != nil {
				t.Fatal(err)
			}
			if e := a.next(t, "/events"); !bytes.Contains(e.Args, []byte("news")) {
				t.Errorf("event %s", e.Body)
			}
			b.publish(t, name+".events", `{"args": ["own"]}`)
			if e := a.next(t, "/events"); !bytes.Contains(e.Args, []byte("own")) {
				t.Errorf("an app must see what apps publish, got %s", e.Body)
			}
			b.publish(t, name+".events", `{"args": ["hidden"], "exclude_me": true}`)
			b.publish(t, name+".events", `{"args": ["last"]}`)
			if e := a.next(t, "/events"); !bytes.Contains(e.Args, []byte("last")) {
				t.Errorf("exclude_me is not honoured: %s", e.Body)
			}
			if s := b.post(t, "/call/com.nobody/", nil).Status; s != http.StatusNotFound {
				t.Errorf("unknown procedure: %d", s)
			}
		})
	}
}

// Crossbar is killed and comes back; nobody registers anything again.
func TestARestartedCrossbarGetsEverythingBack(t *testing.T) {
	c := startCrossbar(t)
	b := startBridge(t, setup{wamp: fmt.Sprintf(`{kind: wamp, url: "ws://%s/open", realm: realm1}`, c.address)})
	a := startApp(t, theToken)
	b.register(t, object{"com.app.echo": a.view("/echo", echo)})
	b.subscribe(t, object{"com.app.": object{"url": a.view("/events", nil), "match": "prefix"}})

	c.kill()
	eventually(t, "the bridge says that the router is away", func() error {
		if s := b.post(t, "/call/com.app.echo/", nil).Status; s != http.StatusServiceUnavailable {
			return fmt.Errorf("status %d", s)
		}
		return nil
	})
	c.start(t)
	component := c.component(t)
	within(t, 3*patience, "the procedure is back", func() error {
		_, err := component.Call(deadline(t), "com.app.echo", nil, wamp.List{1}, nil, nil)
		return err
	})
	within(t, 3*patience, "the subscription is back", func() error {
		if err := component.Publish("com.app.news", wamp.Dict{wamp.OptAcknowledge: true}, wamp.List{"again"}, nil); err != nil {
			return err
		}
		if a.waiting("/events") == 0 { // published before it was back, or still on its way
			return errors.New("no event yet")
		}
		return nil
	})
	if e := a.next(t, "/events"); !bytes.Contains(e.Args, []byte("again")) {
		t.Errorf("event %s", e.Body)
	}
	if s := b.status(t); s.Backends[0].State != "up" {
		t.Errorf("state %s", s.Backends[0].State)
	}
}
