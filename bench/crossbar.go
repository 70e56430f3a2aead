package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/anybridge/anybridge/bench/internal/proc"
	"github.com/anybridge/anybridge/bench/internal/roles"
)

//go:embed crossbar/config.json.tmpl
var crossbarConfig string

// findCrossbar returns the crossbar executable; with --crossbar it is installed
// if need be.
func (l *lab) findCrossbar(ctx context.Context) (string, error) {
	if l.opt.crossbarAt != "" {
		return l.opt.crossbarAt, nil
	}
	venv := filepath.Join(l.root, ".tools", "crossbar-venv")
	bin := filepath.Join(venv, "bin", "crossbar")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	if !l.opt.crossbar {
		return "", errors.New("no Crossbar here, --crossbar installs it")
	}
	fmt.Fprintln(l.progress, "installing Crossbar into", venv)
	for _, args := range [][]string{
		{"python3", "-m", "venv", venv},
		{filepath.Join(venv, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", "-r", "bench/crossbar/requirements.txt"},
	} {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir = l.root
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("install Crossbar: %w: %s", err, bytes.TrimSpace(out))
		}
	}
	return bin, nil
}

// crossbarNode is a running Crossbar.
type crossbarNode struct {
	*proc.Process
	addr string
	url  string // of the router
}

// launchCrossbar starts a node; class is the component that talks to callback,
// or "" for none.
func (l *lab) launchCrossbar(class, callback string) (*crossbarNode, error) {
	if l.crossbarErr != nil {
		return nil, l.crossbarErr
	}
	dir, err := l.newDir()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	t, err := template.New("config").Parse(crossbarConfig)
	if err != nil {
		return nil, err
	}
	var config bytes.Buffer
	err = t.Execute(&config, map[string]any{
		"Realm": realm, "Port": port, "Class": class, "Callback": callback, "Procedure": procedure, "Topic": topic,
	})
	if err != nil {
		return nil, err
	}
	// The static directory of the root path has to be there.
	if err := os.Mkdir(filepath.Join(dir, "web"), 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config.Bytes(), 0o600); err != nil {
		return nil, err
	}
	p, err := l.start(proc.Spec{
		Name: "controller", Path: l.crossbar, Args: []string{"start", "--cbdir", dir, "--loglevel", "warn"}, Dir: dir,
		Child: func(cmdline string) string {
			switch {
			case strings.Contains(cmdline, "RouterController"), strings.Contains(cmdline, "router"):
				return "router"
			case strings.Contains(cmdline, "ContainerController"), strings.Contains(cmdline, "container"):
				return "container"
			}
			return cmdline
		},
	})
	if err != nil {
		return nil, err
	}
	go func() { _, _ = io.Copy(io.Discard, p.Stdout) }() // ends with the process
	return &crossbarNode{Process: p, addr: fmt.Sprintf("127.0.0.1:%d", port), url: fmt.Sprintf("ws://127.0.0.1:%d/ws", port)}, nil
}

// crossbarNode starts a node and waits until try succeeds too.
func (l *lab) crossbarNode(class, callback string, try func(*crossbarNode) error) (*crossbarNode, error) {
	c, err := l.launchCrossbar(class, callback)
	if err != nil {
		return nil, err
	}
	return c, await(60*time.Second, 50*time.Millisecond, c.Process, func() error {
		if err := joinable(c.url); err != nil {
			return err
		}
		if err := c.post("/publish", `{"topic":"com.bench.ready","args":[]}`, `"id"`); err != nil {
			return err
		}
		if try == nil {
			return nil
		}
		return try(c)
	})
}

// post sends a request that must be answered with 200 and the text want.
func (c *crossbarNode) post(path, body, want string) error {
	res, err := http.Post("http://"+c.addr+path, "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK || !strings.Contains(string(answer), want) {
		return fmt.Errorf("POST %s: %s: %s", path, res.Status, answer)
	}
	return nil
}

const (
	crossbarCallBody  = `{"procedure":"` + procedure + `","args":[$A,$B]}`
	crossbarEventBody = `{"topic":"` + topic + `","args":["$T"]}`
	// What RESTCallee wants to know, as keyword arguments.
	restCallKwargs = `{"method":"POST","url":"","body":"{\"args\":[$A,$B]}"}`
	restCallBody   = `{"procedure":"` + procedure + `","kwargs":` + restCallKwargs + `}`
)

func crossbarHTTPToWAMP(l *lab) (*contender, error) {
	c, err := l.crossbarNode("", "", nil)
	if err != nil {
		return nil, err
	}
	callee, err := l.wampCallee(c.url, false)
	if err != nil {
		return nil, err
	}
	return l.httpContender(httpLoad{addr: c.addr, path: "/call", body: crossbarCallBody, sum: true}, c.Process, callee.Process)
}

// crossbarRESTCallee starts Crossbar with a RESTCallee and the web application behind it.
func (l *lab) crossbarRESTCallee() (*crossbarNode, *role, error) {
	callee, err := l.role("callee", "callee-http")
	if err != nil {
		return nil, nil, err
	}
	probe := strings.NewReplacer("$A", "20", "$B", "3").Replace(restCallBody)
	c, err := l.crossbarNode("RESTCallee", "http://"+callee.ready.Addr+"/", func(c *crossbarNode) error {
		return c.post("/call", probe, `"content":"23"`)
	})
	return c, callee, err
}

func crossbarWAMPToHTTP(l *lab) (*contender, error) {
	c, callee, err := l.crossbarRESTCallee()
	if err != nil {
		return nil, err
	}
	return l.callContender(c.url, "[],"+restCallKwargs, false, c.Process, callee.Process)
}

func crossbarHTTPToHTTP(l *lab) (*contender, error) {
	c, callee, err := l.crossbarRESTCallee()
	if err != nil {
		return nil, err
	}
	return l.httpContender(httpLoad{addr: c.addr, path: "/call", body: restCallBody, sum: true}, c.Process, callee.Process)
}

func crossbarPublish(l *lab) (*contender, error) {
	c, err := l.crossbarNode("", "", nil)
	if err != nil {
		return nil, err
	}
	return l.publishContender(c.url, httpLoad{addr: c.addr, path: "/publish", body: crossbarEventBody}, c.Process)
}

func crossbarDeliver(l *lab) (*contender, error) {
	sink, err := l.role("sink", "sink-http")
	if err != nil {
		return nil, err
	}
	probe := strings.ReplaceAll(crossbarEventBody, "$T", "t=1234567890123456789")
	c, err := l.crossbarNode("MessageForwarder", "http://"+sink.ready.Addr+"/tick", func(c *crossbarNode) error {
		if err := c.post("/publish", probe, `"id"`); err != nil {
			return err
		}
		got, err := sink.do(roles.Command{Do: roles.Drain, Expect: 1, Timeout: time.Second})
		if err == nil && got.Ops == 0 {
			err = errors.New("the forwarder does not forward yet")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return l.deliverContender(c.url, sink, c.Process)
}

func crossbarFanout(l *lab) (*contender, error) {
	c, err := l.crossbarNode("", "", nil)
	if err != nil {
		return nil, err
	}
	return l.fanoutContender(c.url, c.Process)
}

func crossbarRouting(l *lab) (*contender, error) {
	c, err := l.crossbarNode("", "", nil)
	if err != nil {
		return nil, err
	}
	callee, err := l.wampCallee(c.url, false)
	if err != nil {
		return nil, err
	}
	return l.callContender(c.url, "[$A,$B]", false, c.Process, callee.Process)
}

func crossbarStart(l *lab) (*contender, error) {
	if l.crossbarErr != nil {
		return nil, l.crossbarErr
	}
	return &contender{measure: func(time.Duration) (sample, error) {
		defer l.stopAll()
		start := time.Now()
		if _, err := l.crossbarNode("", "", nil); err != nil {
			return sample{}, err
		}
		return sample{value: milliseconds(time.Since(start))}, nil
	}}, nil
}

func crossbarIdle(l *lab) (*contender, error) {
	if l.crossbarErr != nil {
		return nil, l.crossbarErr
	}
	return l.idleContender(func() (*proc.Process, error) {
		c, err := l.crossbarNode("", "", nil)
		if err != nil {
			return nil, err
		}
		return c.Process, nil
	}), nil
}
