//nolint:misspell // Mosquitto is the name of a server
package tests

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Web apps and mosquitto's own clients, with the bridge, the example plugin and a
// Mosquitto between them.
func TestMQTTEndToEnd(t *testing.T) {
	server := startMosquitto(t)
	plugin := filepath.Join(t.TempDir(), "plugin-mqtt")
	build := exec.Command("go", "build", "-C", "../examples/plugin-mqtt", "-o", plugin)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the plugin: %v\n%s", err, out)
	}
	b := startBridge(t, setup{more: fmt.Sprintf("  mqtt: {plugin: %q, config: {server: \"mqtt://127.0.0.1:%s\"}}\n", plugin, server.port)})
	a := startApp(t, theToken)

	t.Run("what mosquitto_pub publishes", func(t *testing.T) {
		b.subscribe(t, object{
			"mqtt:shop.orders":  a.view("/exact", nil),
			"mqtt:shop.":        object{"url": a.view("/prefix", nil), "match": "prefix", "ordered": true},
			"mqtt:shop..orders": object{"url": a.view("/wildcard", nil), "match": "wildcard"},
		})
		server.pub(t, "shop/orders", `{"args": [9007199254740993], "kwargs": {"n": 2}}`)
		for _, path := range []string{"/exact", "/prefix"} {
			c := a.next(t, path)
			equal(t, "topic", c.Topic, "mqtt:shop.orders")
			sameJSON(t, "args", c.Args, raw([]any{9007199254740993}))
			sameJSON(t, "kwargs", c.Kwargs, raw(object{"n": 2}))
		}
		server.pub(t, "shop/two/orders", "hello")
		for _, path := range []string{"/prefix", "/wildcard"} {
			c := a.next(t, path)
			equal(t, "topic", c.Topic, "mqtt:shop.two.orders")
			equal(t, "text", onlyArg(t, c), "hello")
		}
		for _, path := range []string{"/exact", "/prefix", "/wildcard"} {
			a.none(t, path)
		}
	})

	t.Run("what an app publishes", func(t *testing.T) {
		listener := server.sub(t, "news/#")
		b.publish(t, "mqtt:news.today", object{"args": []any{"rain"}, "kwargs": object{"n": 1}})
		equal(t, "message", listener.next(t), `news/today {"args":["rain"],"kwargs":{"n":1}}`)
		b.publish(t, "mqtt:news.last", object{"args": []any{"sun"}, "options": object{"retain": true}})
		equal(t, "message", listener.next(t), `news/last {"args":["sun"]}`)
		equal(t, "what was retained", server.sub(t, "news/+").next(t), `news/last {"args":["sun"]}`)
	})

	t.Run("an app calls what an app serves", func(t *testing.T) {
		b.register(t, object{"mqtt:echo": a.view("/echo", echo), "mqtt:refuse": a.view("/refuse", refuse)})
		result := b.call(t, "mqtt:echo", object{"args": []any{"x"}})
		sameJSON(t, "args", result.Args, raw([]any{"x"}))
		equal(t, "procedure", a.next(t, "/echo").Procedure, "mqtt:echo")
		b.post(t, "/call/mqtt:nobody/", object{}).want(t, http.StatusNotFound)
	})

	t.Run("mosquitto_rr calls what an app serves", func(t *testing.T) {
		answer := server.client(t, "mosquitto_rr", "-t", "rpc/echo", "-e", "my/answer", "-m", `{"args":[2]}`, "-W", "10")
		sameJSON(t, "answer", []byte(answer), raw(object{"args": []any{2}, "kwargs": object{}}))
	})

	t.Run("Mosquitto is away, and back", func(t *testing.T) {
		server.kill()
		b.post(t, "/call/mqtt:echo/", object{}).want(t, http.StatusServiceUnavailable)
		server.start(t)
		eventually(t, "what mosquitto_pub publishes is heard again", func() error {
			server.pub(t, "shop/orders", "back")
			time.Sleep(50 * time.Millisecond)
			if a.waiting("/exact") == 0 {
				return errors.New("nothing came")
			}
			return nil
		})
	})
}

// mosquitto is a server of the test's own, and its clients.
type mosquitto struct {
	conf, port string
	cmd        *exec.Cmd
}

func startMosquitto(t testing.TB) *mosquitto {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	m := &mosquitto{conf: filepath.Join(t.TempDir(), "mosquitto.conf"), port: port}
	conf := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\n", port)
	if err := os.WriteFile(m.conf, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start(t)
	t.Cleanup(m.kill)
	return m
}

func (m *mosquitto) start(t testing.TB) {
	t.Helper()
	m.cmd = exec.Command(mosquittoProgram(t, "mosquitto"), "-c", m.conf)
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Mosquitto is there", func() error {
		conn, err := net.Dial("tcp", "127.0.0.1:"+m.port)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
}

func (m *mosquitto) kill() {
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
}

func mosquittoProgram(t testing.TB, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	if os.Getenv("ANYBRIDGE_TEST_CLIENTS") == "required" {
		t.Fatalf("%s is not installed: run scripts/servers", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

// client runs one of Mosquitto's clients and returns what it prints.
func (m *mosquitto) client(t testing.TB, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(mosquittoProgram(t, program), append([]string{"-V", "5", "-p", m.port}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (m *mosquitto) pub(t testing.TB, topic, message string) {
	t.Helper()
	m.client(t, "mosquitto_pub", "-q", "1", "-t", topic, "-m", message)
}

// mosquittoListener is a mosquitto_sub that prints "topic message".
type mosquittoListener struct{ lines chan string }

// sub runs mosquitto_sub until the test ends; it returns when that is in force.
func (m *mosquitto) sub(t testing.TB, filter string) *mosquittoListener {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	// What is retained comes at once: that tells when the subscription is in force.
	there := fmt.Sprintf("there/%d", time.Now().UnixNano())
	m.client(t, "mosquitto_pub", "-q", "1", "-r", "-t", there, "-m", "yes")
	cmd := exec.CommandContext(ctx, mosquittoProgram(t, "mosquitto_sub"), "-V", "5", "-p", m.port, "-t", filter, "-t", there, "-F", "%t %p")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l := &mosquittoListener{lines: make(chan string, 1000)}
	subscribed, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if lines.Text() == there+" yes" {
				close(subscribed)
			} else {
				l.lines <- lines.Text()
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = cmd.Wait()
	})
	select {
	case <-subscribed:
	case <-time.After(patience):
		t.Fatal("mosquitto_sub is not subscribed")
	}
	return l
}

func (l *mosquittoListener) next(t testing.TB) string {
	t.Helper()
	select {
	case line := <-l.lines:
		return line
	case <-time.After(patience):
		t.Fatal("mosquitto_sub hears nothing")
		return ""
	}
}
