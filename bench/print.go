package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

func writeJSON(w io.Writer, t table) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(t)
}

func columns() []string {
	return []string{"row", "contender", "median", "p50", "p99", "ours is", "target", "ours costs", "CPU s per 1,000 (each process)", "RSS MB (each process)", ""}
}

// cells returns the lines of the table, one per contender.
func (t table) cells() [][]string {
	var lines [][]string
	for _, r := range t.Rows {
		for i, c := range r.Contenders {
			name := c.Name
			if c.Kind != ours {
				name += " (" + string(c.Kind) + ")"
			}
			line := []string{"", name, "–", "", "", "", "", "", "", "", c.remark()}
			if i == 0 {
				line[0] = r.ID + " " + r.Title
			}
			if c.Target != "" {
				line[6] = c.Target
			}
			if len(c.Rounds) > 0 {
				line[2] = number(c.Value) + " " + r.Unit
				line[3], line[4] = latency(c.P50), latency(c.P99)
				line[8], line[9] = c.cpu(), c.rss()
			}
			if c.Ratio > 0 {
				line[5] = fmt.Sprintf("%.2f×", c.Ratio)
			}
			if c.CPURatio > 0 {
				line[7] = fmt.Sprintf("%.2f× CPU", c.CPURatio)
			}
			if c.Met != nil {
				line[6] += map[bool]string{true: " ✓", false: " ✗"}[*c.Met]
			}
			lines = append(lines, line)
		}
	}
	return lines
}

func (c *contenderResult) remark() string {
	var parts []string
	if c.Note != "" {
		parts = append(parts, c.Note)
	}
	if c.Noise > tooNoisy {
		parts = append(parts, fmt.Sprintf("others used %.0f %% of the machine", 100*c.Noise))
	}
	if c.Errors > 0 {
		parts = append(parts, fmt.Sprintf("%d ERRORS: %s", c.Errors, c.FirstError))
	}
	if c.Problem != "" {
		parts = append(parts, c.Problem)
	}
	return strings.Join(strings.Fields(strings.Join(parts, "; ")), " ")
}

func (c *contenderResult) cpu() string {
	sum := c.cpuPerOp()
	var parts []string
	for _, p := range c.Processes {
		parts = append(parts, fmt.Sprintf("%s %.3f", p.Name, p.CPU))
	}
	if sum == 0 {
		return ""
	}
	return fmt.Sprintf("%.3f = %s", sum, strings.Join(parts, " + "))
}

func (c *contenderResult) rss() string {
	var parts []string
	for _, p := range c.Processes {
		parts = append(parts, fmt.Sprintf("%s %.0f", p.Name, p.RSS/(1<<20)))
	}
	return strings.Join(parts, ", ")
}

// number prints 12345.6 as 12,346, and small values with a decimal.
func number(v float64) string {
	if v < 100 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	s := strconv.FormatInt(int64(v+0.5), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func latency(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	default:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
}

func (t table) heading() []string {
	m := t.Machine
	return []string{
		fmt.Sprintf("%d cores of %s, %s, %s; everything on loopback", m.Cores, m.CPU, m.Kernel, m.Go),
		t.Options,
		t.Command,
	}
}

func writeText(w io.Writer, t table) error {
	lines := append([][]string{columns()}, t.cells()...)
	widths := make([]int, len(columns()))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, h := range t.heading() {
		b.WriteString(h + "\n")
	}
	b.WriteByte('\n')
	for i, line := range lines {
		if i > 0 && line[0] != "" {
			b.WriteByte('\n')
		}
		var text strings.Builder
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i >= 2 && i <= 5 { // numbers to the right
				cell, pad = pad+cell, ""
			}
			text.WriteString(cell + pad + "  ")
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeMarkdown(w io.Writer, t table) error {
	var b strings.Builder
	for _, h := range t.heading() {
		b.WriteString("- `" + h + "`\n")
	}
	b.WriteString("\n| " + strings.Join(columns(), " | ") + " |\n|---|---|--:|--:|--:|--:|---|--:|---|---|---|\n")
	for _, line := range t.cells() {
		for i := range line {
			line[i] = strings.NewReplacer("|", `\|`, "\n", " ").Replace(line[i])
		}
		b.WriteString("| " + strings.Join(line, " | ") + " |\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
