package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/anybridge/anybridge/bench/internal/proc"
)

// redisServer is a running redis-server that keeps nothing on the disk.
type redisServer struct {
	*proc.Process
	addr string
}

// startRedis starts the row's redis-server, or returns the one that is there: all
// contenders of a row use the same.
func (l *lab) startRedis() (*redisServer, error) {
	if l.redis != nil {
		return l.redis, nil
	}
	dir, err := l.newDir()
	if err != nil {
		return nil, err
	}
	p, port, err := l.server("redis-server", func(port int) []string {
		return []string{"--bind", "127.0.0.1", "--port", fmt.Sprint(port), "--dir", dir, "--save", "", "--appendonly", "no", "--loglevel", "warning"}
	})
	if err != nil {
		return nil, err
	}
	r := &redisServer{Process: p, addr: fmt.Sprintf("127.0.0.1:%d", port)}
	err = await(10*time.Second, 5*time.Millisecond, p, func() error {
		conn, err := net.Dial("tcp", r.addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
			return err
		}
		answer, err := bufio.NewReader(conn).ReadString('\n')
		if err == nil && answer != "+PONG\r\n" {
			err = fmt.Errorf("redis answered %q", answer)
		}
		return err
	})
	l.redis = r
	return r, err
}

// startWebdis starts a Webdis in front of Redis, which logs nothing.
func (l *lab) startWebdis(r *redisServer) (*proc.Process, string, error) {
	dir, err := l.newDir()
	if err != nil {
		return nil, "", err
	}
	file := filepath.Join(dir, "webdis.json")
	var writing error
	p, port, err := l.server("webdis", func(port int) []string {
		host, redis, _ := strings.Cut(r.addr, ":")
		config, err := json.Marshal(map[string]any{
			"redis_host": host, "redis_port": json.Number(redis), "redis_auth": nil, "http_host": "127.0.0.1", "http_port": port,
			"threads": 4, "daemonize": false, "database": 0, "verbosity": 0, "logfile": os.DevNull,
		})
		writing = errors.Join(err, os.WriteFile(file, config, 0o600))
		return []string{file}
	})
	if err = errors.Join(writing, err); err != nil {
		return nil, "", err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	return p, addr, await(10*time.Second, 5*time.Millisecond, p, func() error {
		res, err := http.Post("http://"+addr+"/", "text/plain", strings.NewReader("PING"))
		if err != nil {
			return err
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err == nil && !strings.Contains(string(answer), "PONG") {
			err = fmt.Errorf("webdis answered %s: %s", res.Status, answer)
		}
		return err
	})
}

// startNgIRCd starts an IRC server.
func (l *lab) startNgIRCd() (string, error) {
	dir, err := l.newDir()
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "ngircd.conf")
	var writing error
	p, port, err := l.server("ngircd", func(port int) []string {
		writing = os.WriteFile(file, fmt.Appendf(nil, "[Global]\nName = irc.test\nInfo = bench\nListen = 127.0.0.1\nPorts = %d\nPidFile =\n"+
			"[Limits]\nMaxPenaltyTime = 0\n[Options]\nDNS = no\nIdent = no\nPAM = no\n", port), 0o600)
		return []string{"--nodaemon", "--passive", "--config", file}
	})
	if err = errors.Join(writing, err); err != nil {
		return "", err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	return addr, awaitPort(p, addr)
}

// What the XMPP server serves.
const (
	xmppDomain  = "xmpp.test"
	xmppAccount = "bench"
)

// startProsody starts an XMPP server with one account, and without TLS.
func (l *lab) startProsody() (string, error) {
	dir, err := l.newDir()
	if err != nil {
		return "", err
	}
	accounts := filepath.Join(dir, "data", strings.ReplaceAll(xmppDomain, ".", "%2e"), "accounts")
	if err := os.MkdirAll(accounts, 0o700); err != nil {
		return "", err
	}
	account := fmt.Appendf(nil, "return { [\"password\"] = %q; };\n", benchToken)
	if err := os.WriteFile(filepath.Join(accounts, xmppAccount+".dat"), account, 0o600); err != nil {
		return "", err
	}
	file := filepath.Join(dir, "prosody.cfg.lua")
	var writing error
	p, port, err := l.server("prosody", func(port int) []string {
		writing = os.WriteFile(file, fmt.Appendf(nil, `run_as_root = true
pidfile = %q
data_path = %q
modules_enabled = { "roster"; "saslauth"; "disco"; "ping"; "presence"; "message"; "iq"; "c2s"; "smacks" }
modules_disabled = { "s2s" }
interfaces = { "127.0.0.1" }
c2s_ports = { %d }
c2s_direct_tls_ports = {}
s2s_ports = {}
http_ports = {}
https_ports = {}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
default_storage = "memory"
storage = { accounts = "internal" }
log = { error = %q }
VirtualHost %q
Component %q "muc"
`, filepath.Join(dir, "pid"), filepath.Join(dir, "data"), port, filepath.Join(dir, "log"), xmppDomain, "rooms."+xmppDomain), 0o600)
		return []string{"-F", "--config", file}
	})
	if err = errors.Join(writing, err); err != nil {
		return "", err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	return addr, awaitPort(p, addr)
}

// server starts a program of the system (scripts/servers installs them) on a free port.
func (l *lab) server(name string, args func(port int) []string) (*proc.Process, int, error) {
	var path string
	err := error(nil)
	for _, file := range []string{name, "/usr/sbin/" + name} {
		if path, err = exec.LookPath(file); err == nil {
			break
		}
	}
	if err != nil {
		return nil, 0, fmt.Errorf("no %s here, scripts/servers installs it", name)
	}
	port, err := freePort()
	if err != nil {
		return nil, 0, err
	}
	p, err := l.start(proc.Spec{Name: name, Path: path, Args: args(port)})
	if err != nil {
		return nil, 0, err
	}
	go func() { _, _ = io.Copy(io.Discard, p.Stdout) }() // ends with the process
	return p, port, nil
}

func awaitPort(p *proc.Process, addr string) error {
	return await(20*time.Second, 10*time.Millisecond, p, func() error {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		conn.Close()
		return nil
	})
}
