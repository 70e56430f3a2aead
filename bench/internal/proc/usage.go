package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what one process has cost so far.
type Usage struct {
	Name string
	PID  int
	CPU  time.Duration // user and system, since its start
	RSS  int64         // bytes, now
	PSS  int64         // bytes, now: shared pages are divided among their users
}

// clockTick is the unit of utime and stime in /proc/PID/stat: USER_HZ, which is
// 100 on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// Usage reads what the process and its descendants cost, the process first.
func (p *Process) Usage() ([]Usage, error) {
	pids, err := family(p.PID())
	if err != nil {
		return nil, fmt.Errorf("usage of %s: %w", p.Spec.Name, err)
	}
	var all []Usage
	for i, pid := range pids {
		u, err := usage(pid)
		if err != nil {
			if i > 0 && errors.Is(err, os.ErrNotExist) {
				continue // a descendant that has just ended
			}
			return nil, fmt.Errorf("usage of %s: %w", p.Spec.Name, err)
		}
		u.Name = p.Spec.Name
		if i > 0 {
			u.Name = p.child(pid)
		}
		all = append(all, u)
	}
	return all, nil
}

func (p *Process) child(pid int) string {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil || p.Spec.Child == nil {
		return strconv.Itoa(pid)
	}
	return p.Spec.Child(strings.TrimSpace(string(bytes.ReplaceAll(b, []byte{0}, []byte{' '}))))
}

// family returns pid and its descendants.
func family(pid int) ([]int, error) {
	pids := []int{pid}
	for i := 0; i < len(pids); i++ {
		lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pids[i]))
		if err != nil {
			return nil, err
		}
		for _, list := range lists {
			b, err := os.ReadFile(list)
			if err != nil {
				continue // a thread that has just ended
			}
			for f := range strings.FieldsSeq(string(b)) {
				child, err := strconv.Atoi(f)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", list, err)
				}
				pids = append(pids, child)
			}
		}
	}
	return pids, nil
}

func usage(pid int) (Usage, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return Usage{}, err
	}
	cpu, err := parseCPU(string(stat))
	if err != nil {
		return Usage{}, err
	}
	rollup, err := os.ReadFile(filepath.Join(dir, "smaps_rollup"))
	if err != nil {
		return Usage{}, err
	}
	u := Usage{PID: pid, CPU: cpu}
	if u.RSS, err = parseSize(string(rollup), "Rss:"); err != nil {
		return Usage{}, err
	}
	u.PSS, err = parseSize(string(rollup), "Pss:")
	return u, err
}

// parseCPU adds utime and stime of a /proc/PID/stat line: fields 14 and 15,
// counted behind the command's name, which may hold spaces and parentheses.
func parseCPU(stat string) (time.Duration, error) {
	_, rest, _ := strings.Cut(stat[max(strings.LastIndexByte(stat, ')'), 0):], " ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat: %q", stat)
	}
	utime, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("stat: %w", err)
	}
	stime, err := strconv.ParseInt(fields[12], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("stat: %w", err)
	}
	return time.Duration(utime+stime) * clockTick, nil
}

// parseSize finds "Name:   123 kB" in smaps_rollup.
func parseSize(rollup, name string) (int64, error) {
	for line := range strings.Lines(rollup) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == name && f[2] == "kB" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("smaps_rollup: no %s", name)
}
