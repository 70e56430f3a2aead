package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/anybridge/anybridge/bench/internal/proc"
)

func example() table {
	spec := row{id: "1", title: "call", unit: "calls/s", targets: []target{{against: floor, atLeast: 0.7}, {against: peer, atLeast: 4}}}
	r := rowResult{ID: spec.id, Title: spec.title, Unit: spec.unit}
	mk := func(k kind, name string, values ...float64) contenderResult {
		var s []sample
		for _, v := range values {
			s = append(s, sample{value: v, ops: 1000, p50: 900 * time.Microsecond, p99: 12 * time.Millisecond,
				usage: []cost{{Name: "a", CPU: 100 * time.Millisecond, RSS: 20 << 20}, {Name: "b", CPU: 50 * time.Millisecond, RSS: 10 << 20}}})
		}
		return summarise(entry{kind: k, name: name}, s, "")
	}
	r.Contenders = []contenderResult{
		mk(ours, "anybridge", 8000, 9000, 7500), mk(floor, "forwarder", 10000, 10000, 15000), mk(peer, "Crossbar", 2000, 3000, 2000),
	}
	r.compare(spec)
	spec = row{id: "7", title: "start", unit: "ms", lessIsBetter: true, targets: []target{{against: ours, atMost: 300}}}
	start := rowResult{ID: spec.id, Title: spec.title, Unit: spec.unit, Contenders: []contenderResult{
		{Name: "anybridge", Kind: ours, Value: 250, Rounds: []float64{250}, Errors: 2, FirstError: "odd\nanswer"},
		{Name: "Crossbar", Kind: peer, Problem: "not installed"},
	}}
	start.compare(spec)
	return table{
		Machine: machine{Cores: 2, CPU: "a CPU", Kernel: "Linux 1", Go: "go1"}, Command: "go run ./bench", Options: "3 rounds",
		Rows: []rowResult{r, start},
	}
}

func TestRatiosAreMediansOfPairsAndTargetsNeedCleanRounds(t *testing.T) {
	r := example().Rows
	if got := r[0].Contenders[1]; got.Ratio != 0.8 || got.Met == nil || !*got.Met {
		t.Errorf("against the floor: %+v", got)
	}
	if got := r[0].Contenders[2]; got.Ratio != 3.75 || got.Met == nil || *got.Met {
		t.Errorf("against the peer: %+v", got)
	}
	if got := r[1].Contenders[0]; got.Met == nil || *got.Met {
		t.Errorf("a row with errors meets no target: %+v", got)
	}
}

// The tables are compared with files; UPDATE_GOLDEN=1 writes them.
func TestTables(t *testing.T) {
	for name, write := range map[string]func(*bytes.Buffer) error{
		"table.txt":  func(b *bytes.Buffer) error { return writeText(b, example()) },
		"table.md":   func(b *bytes.Buffer) error { return writeMarkdown(b, example()) },
		"table.json": func(b *bytes.Buffer) error { return writeJSON(b, example()) },
	} {
		var got bytes.Buffer
		if err := write(&got); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name)
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s differs (%v):\n%s", name, err, got.String())
		}
	}
}

func TestCostsCountANewProcessFromZero(t *testing.T) {
	before := []proc.Usage{{Name: "bridge", PID: 1, CPU: 5 * time.Second}}
	after := []proc.Usage{{Name: "bridge", PID: 1, CPU: 7 * time.Second}, {Name: "wamp", PID: 9, CPU: time.Second}}
	got := costs(before, after)
	want := []cost{{Name: "bridge", CPU: 2 * time.Second}, {Name: "wamp", CPU: time.Second}}
	if !slices.Equal(got, want) {
		t.Errorf("costs = %+v", got)
	}
}

func TestSelectRows(t *testing.T) {
	some, err := selectRows([]string{"3", " 1"})
	if err != nil || len(some) != 2 || some[0].id != "3" || some[1].id != "1" {
		t.Errorf("rows = %v, %v", some, err)
	}
	if _, err := selectRows([]string{"99"}); err == nil {
		t.Error("an unknown row was accepted")
	}
}
