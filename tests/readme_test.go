package tests

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The README's tour is run as it is written, but for the ports and the token: the
// programs of examples/tour beside a bridge, each line of shell in order, and each
// answer compared with the one that is printed there.
func TestTheREADMEsTourIsTrue(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tour, _ := strings.Cut(string(readme), "## The tour")
	tour, _, _ = strings.Cut(tour, "## What it does")

	b := startBridge(t, setup{})
	component := startTour(t, interpreter(t, "x.py"), "component.py", b.WS)
	app := startTour(t, interpreter(t, "x.py"), "webapp.py", "0")
	component.await(t, "component ready")
	web := restURL.FindString(app.await(t, "web app ready"))

	blocks := regexp.MustCompile("(?s)```(\\w*)\n(.*?)```").FindAllStringSubmatch(tour, -1)
	ids := regexp.MustCompile(`"(id|ID)":"[^"]*"`)
	var script, answers []string
	for _, block := range blocks {
		switch lines := strings.Split(strings.TrimSpace(block[2]), "\n"); block[1] {
		case "sh":
			script = append(script, lines...)
		case "json":
			answers = append(answers, lines...)
		case "":
			for _, line := range lines { // what the two programs print
				said, _, _ := strings.Cut(line, "  ")
				answers = append(answers, "said "+said)
			}
		}
	}
	if len(script) < 5 || len(answers) < 8 {
		t.Fatalf("found %d lines of shell and %d of answers in the README", len(script), len(answers))
	}
	text := strings.NewReplacer("http://127.0.0.1:8181", b.URL, "http://127.0.0.1:8000", web, "curl ", "curl -sS ",
		"$(cat anybridge-data/token)", theToken).Replace(strings.Join(script, "\n"))
	cmd := exec.CommandContext(deadline(t), "bash", "-euc", text)
	cmd.Dir = filepath.Dir(b.Config)
	cmd.Stderr = b.log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the README's lines: %v\n%s", err, text)
	}
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	for _, want := range answers {
		if said, ok := strings.CutPrefix(want, "said "); ok {
			if strings.HasPrefix(said, "/") {
				app.await(t, said)
			} else {
				component.await(t, said)
			}
			continue
		}
		if len(got) == 0 {
			t.Fatalf("no answer left for %s", want)
		}
		if g, w := ids.ReplaceAllString(got[0], "ID"), ids.ReplaceAllString(want, "ID"); g != w {
			t.Errorf("the README promises\n%s\nbut the answer is\n%s", want, got[0])
		}
		got = got[1:]
	}
	if len(got) > 0 {
		t.Errorf("answers that the README does not show: %q", got)
	}
}

// tourProgram is one of examples/tour.
type tourProgram struct{ said chan string }

func startTour(t *testing.T, python, name, argument string) *tourProgram {
	t.Helper()
	cmd := exec.Command(python, filepath.Join("../examples/tour", name), argument)
	var log logBuffer
	cmd.Stderr = &log
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	p := &tourProgram{said: make(chan string, 100)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewScanner(io.TeeReader(stdout, &log))
		for lines.Scan() {
			p.said <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("what %s said:\n%s", name, &log)
		}
	})
	return p
}

// await waits for a line that contains text.
func (p *tourProgram) await(t *testing.T, text string) string {
	t.Helper()
	for {
		select {
		case line := <-p.said:
			if strings.Contains(line, text) {
				return line
			}
		case <-time.After(patience):
			t.Fatalf("nobody said %q", text)
		}
	}
}
