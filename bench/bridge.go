package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/anybridge/anybridge/bench/internal/proc"
)

// buildProduct builds what users run, as the Makefile does.
func (l *lab) buildProduct(ctx context.Context) (string, error) {
	if l.opt.product != "" {
		return filepath.Abs(l.opt.product)
	}
	args := []string{"build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(l.dir, "anybridge")}
	if l.opt.profile != "" {
		overlay, err := l.profileOverlay()
		if err != nil {
			return "", err
		}
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/anybridge")...)
	cmd.Dir = l.root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build anybridge: %w: %s", err, bytes.TrimSpace(out))
	}
	return filepath.Join(l.dir, "anybridge"), nil
}

// bridge is a running anybridge with its WAMP plugin.
type bridge struct {
	*proc.Process
	addr string // of the REST frontend
	wamp string // URL of the router
	file string // its configuration
}

// launchBridge starts anybridge with a fresh data directory, and more lines in its
// configuration.
func (l *lab) launchBridge(more ...string) (*bridge, error) {
	if l.productErr != nil {
		return nil, l.productErr
	}
	dir, err := l.newDir()
	if err != nil {
		return nil, err
	}
	rest, err := freePort()
	if err != nil {
		return nil, err
	}
	wamp, err := freePort()
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`listen: 127.0.0.1:%d
data_dir: %s
tokens:
  bench: {token: %q, allow: ["*"]}
callbacks:
  allow: [127.0.0.0/8]
backends:
  wamp: {kind: wamp, router: {listen: "127.0.0.1:%d", path: /ws, realms: [%s]}}
`, rest, filepath.Join(dir, "data"), benchToken, wamp, realm) + strings.Join(more, "")
	file := filepath.Join(dir, "anybridge.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	b := &bridge{addr: fmt.Sprintf("127.0.0.1:%d", rest), wamp: fmt.Sprintf("ws://127.0.0.1:%d/ws", wamp), file: file}
	return b, l.run(b)
}

// run starts anybridge with the configuration and the data that b has.
func (l *lab) run(b *bridge) (err error) {
	b.Process, err = l.start(proc.Spec{
		Name: "bridge", Path: l.product, Args: []string{"serve", "--config", b.file}, Dir: filepath.Dir(b.file),
		Child: func(cmdline string) string {
			_, backend, _ := strings.Cut(cmdline, " backend ")
			return backend
		},
	})
	return err
}

// bridge starts anybridge and waits until it is ready.
func (l *lab) bridge(more ...string) (*bridge, error) {
	b, err := l.launchBridge(more...)
	if err != nil {
		return nil, err
	}
	return b, b.await()
}

func (b *bridge) await() error {
	return await(20*time.Second, time.Millisecond, b.Process, b.ready)
}

func (b *bridge) ready() error {
	res, err := http.Get("http://" + b.addr + "/readyz")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("readyz: %s", res.Status)
	}
	return nil
}

// bind ties a callback to a name: verb is "register" or "subscribe".
func (b *bridge) bind(verb, name, callback string) error {
	body, err := json.Marshal(map[string]any{"token": benchToken, "endpoints": map[string]string{name: callback}})
	if err != nil {
		return err
	}
	res, err := http.Post("http://"+b.addr+"/"+verb+"/", "application/json", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, name, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, name, err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", verb, name, res.Status, answer)
	}
	return nil
}

func bridgeHTTPToWAMP(l *lab) (*contender, error) {
	b, err := l.bridge()
	if err != nil {
		return nil, err
	}
	callee, err := l.wampCallee(b.wamp, false)
	if err != nil {
		return nil, err
	}
	return l.httpContender(b.callLoad(), b.Process, callee.Process)
}

func (b *bridge) callLoad() httpLoad {
	return httpLoad{addr: b.addr, path: "/call/" + procedure + "/", token: benchToken, body: callBody, sum: true}
}

// withCallback starts a bridge and a web application that serves the procedure.
func (l *lab) withCallback() (*bridge, *role, error) {
	b, err := l.bridge()
	if err != nil {
		return nil, nil, err
	}
	callee, err := l.role("callee", "callee-http")
	if err != nil {
		return nil, nil, err
	}
	return b, callee, b.bind("register", procedure, "http://"+callee.ready.Addr+"/add2")
}

func bridgeWAMPToHTTP(l *lab) (*contender, error) {
	b, callee, err := l.withCallback()
	if err != nil {
		return nil, err
	}
	return l.callContender(b.wamp, "[$A,$B]", false, b.Process, callee.Process)
}

func bridgeHTTPToHTTP(l *lab) (*contender, error) {
	b, callee, err := l.withCallback()
	if err != nil {
		return nil, err
	}
	return l.httpContender(b.callLoad(), b.Process, callee.Process)
}

func bridgePublish(l *lab) (*contender, error) {
	b, err := l.bridge()
	if err != nil {
		return nil, err
	}
	return l.publishContender(b.wamp, httpLoad{addr: b.addr, path: "/publish/" + topic + "/", token: benchToken, body: eventBody}, b.Process)
}

// publishContender measures HTTP publications, and counts the events at a WAMP subscriber.
func (l *lab) publishContender(url string, h httpLoad, router *proc.Process) (*contender, error) {
	sink, err := l.role("subscriber", "sink-wamp", "-url", url, "-realm", realm, "-topic", topic, "-serializer", l.opt.serializer)
	if err != nil {
		return nil, err
	}
	c, err := l.httpContender(h, router, sink.Process)
	if err != nil {
		return nil, err
	}
	publish := c.measure
	c.measure = func(d time.Duration) (sample, error) {
		s, err := publish(d)
		if err != nil {
			return s, err
		}
		got, err := drain(sink, s.ops)
		if err != nil {
			return s, err
		}
		s.countEvents(got, "received")
		s.note += fmt.Sprintf(", event p50 %s p99 %s", latency(got.P50), latency(got.P99))
		return s, nil
	}
	return c, nil
}

func bridgeDeliver(l *lab) (*contender, error) {
	b, err := l.bridge()
	if err != nil {
		return nil, err
	}
	sink, err := l.role("sink", "sink-http")
	if err != nil {
		return nil, err
	}
	if err := b.bind("subscribe", topic, "http://"+sink.ready.Addr+"/tick"); err != nil {
		return nil, err
	}
	return l.deliverContender(b.wamp, sink, b.Process)
}

func bridgeFanout(l *lab) (*contender, error) {
	b, err := l.bridge()
	if err != nil {
		return nil, err
	}
	return l.fanoutContender(b.wamp, b.Process)
}

func bridgeRouting(nexusClient bool) func(*lab) (*contender, error) {
	return func(l *lab) (*contender, error) {
		b, err := l.bridge()
		if err != nil {
			return nil, err
		}
		callee, err := l.wampCallee(b.wamp, nexusClient)
		if err != nil {
			return nil, err
		}
		return l.callContender(b.wamp, "[$A,$B]", nexusClient, b.Process, callee.Process)
	}
}

// bridgeStart measures from the start of the process to readyz saying yes and the
// router letting a session in, whichever is later.
func bridgeStart(l *lab) (*contender, error) {
	if l.productErr != nil {
		return nil, l.productErr
	}
	return &contender{measure: func(time.Duration) (sample, error) {
		defer l.stopAll()
		start := time.Now()
		b, err := l.launchBridge()
		if err != nil {
			return sample{}, err
		}
		var rest, wamp time.Duration
		err = await(20*time.Second, time.Millisecond, b.Process, func() error {
			var errRest, errWAMP error
			if rest == 0 {
				if errRest = b.ready(); errRest == nil {
					rest = time.Since(start)
				}
			}
			if wamp == 0 {
				if errWAMP = joinable(b.wamp); errWAMP == nil {
					wamp = time.Since(start)
				}
			}
			return errors.Join(errRest, errWAMP)
		})
		if err != nil {
			return sample{}, err
		}
		return sample{
			value: milliseconds(max(rest, wamp)),
			note:  fmt.Sprintf("readyz after %.0f ms, WAMP after %.0f ms", milliseconds(rest), milliseconds(wamp)),
		}, nil
	}}, nil
}

func bridgeIdle(l *lab) (*contender, error) {
	if l.productErr != nil {
		return nil, l.productErr
	}
	return l.idleContender(func() (*proc.Process, error) {
		b, err := l.bridge()
		if err != nil {
			return nil, err
		}
		return b.Process, nil
	}), nil
}
