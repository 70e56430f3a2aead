package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

//go:embed profile.go.txt
var profileSource string

// profileOverlay adds one file to the product's main package for this build
// only: it serves pprof on a Unix socket named for the process. Users' binaries
// need no such thing, and so have none.
func (l *lab) profileOverlay() (string, error) {
	source := filepath.Join(l.dir, "profile.go")
	text := strings.ReplaceAll(profileSource, "SOCKETS", l.dir)
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		return "", err
	}
	b, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(l.root, "cmd", "anybridge", "bench_profile.go"): source,
	}})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(l.dir, "overlay.json")
	return overlay, os.WriteFile(overlay, b, 0o600)
}

// collectProfiles takes a CPU profile of every process of the product for d. The
// function it returns waits for the profiles to be written.
func (l *lab) collectProfiles(c *contender, row string, d time.Duration) (wait func()) {
	var wg sync.WaitGroup
	usage, err := c.usage()
	if err != nil {
		l.say(err)
		return func() {}
	}
	for _, u := range usage {
		socket := filepath.Join(l.dir, fmt.Sprintf("%d.sock", u.PID))
		if _, err := os.Stat(socket); err != nil {
			continue // not the product
		}
		wg.Go(func() {
			name := filepath.Join(l.opt.profile, fmt.Sprintf("row%s-%s.pprof", row, u.Name))
			l.say(fetchProfile(socket, name, max(1, int(d.Seconds()))))
		})
	}
	return wg.Wait
}

func fetchProfile(socket, name string, seconds int) error {
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	res, err := client.Get(fmt.Sprintf("http://pprof/profile?seconds=%d", seconds))
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer res.Body.Close()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer f.Close()
	if _, err := io.Copy(f, res.Body); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return nil
}
