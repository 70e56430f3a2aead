package proc

import (
	"testing"
	"time"
)

func TestParseCPUSkipsAnyCommandName(t *testing.T) {
	stat := "42 (odd) name (x) S 1 42 42 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 9 0 1000 0 0"
	got, err := parseCPU(stat)
	if err != nil || got != 2*time.Second {
		t.Errorf("parseCPU = %v, %v; want 2s", got, err)
	}
	if _, err := parseCPU("42"); err == nil {
		t.Error("a cut line was accepted")
	}
}

func TestParseSize(t *testing.T) {
	rollup := "5581-7fff [rollup]\nRss:            1536 kB\nPss:             512 kB\nPss_Dirty:         8 kB\n"
	for name, want := range map[string]int64{"Rss:": 1536 << 10, "Pss:": 512 << 10} {
		if got, err := parseSize(rollup, name); err != nil || got != want {
			t.Errorf("parseSize(%s) = %d, %v; want %d", name, got, err, want)
		}
	}
	if _, err := parseSize(rollup, "Swap:"); err == nil {
		t.Error("a missing line was accepted")
	}
}

func TestUsageOfARealProcessAndItsChild(t *testing.T) {
	p, err := Start(Spec{Name: "shell", Path: "/bin/sh", Args: []string{"-c", "sleep 30 & echo up; wait"},
		Child: func(cmdline string) string { return cmdline }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop() })
	if _, err := p.Stdout.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	var u []Usage
	for range 1000 { // the child is a shell until it has become sleep
		if u, err = p.Usage(); err != nil {
			t.Fatal(err)
		}
		if len(u) == 2 && u[1].Name == "sleep 30" {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if len(u) != 2 || u[0].Name != "shell" || u[1].Name != "sleep 30" {
		t.Fatalf("usage = %+v", u)
	}
	if u[0].RSS == 0 || u[1].RSS == 0 {
		t.Errorf("no memory: %+v", u)
	}
	p.Stop()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := usage(u[1].PID); err != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the child %d outlives Stop", u[1].PID)
		}
	}
}

func TestParseBusyLeavesIdleAndInterruptsOut(t *testing.T) {
	got, err := parseBusy("cpu  100 20 30 9999 8888 777 666 5 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
	if err != nil || got != 1550*time.Millisecond {
		t.Errorf("parseBusy = %v, %v; want 1.55s", got, err)
	}
	if _, err := parseBusy("intr 1"); err == nil {
		t.Error("a wrong line was accepted")
	}
	if busy, err := Busy(); err != nil || busy <= 0 {
		t.Errorf("Busy = %v, %v", busy, err)
	}
}
