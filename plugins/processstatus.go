package plugins

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/anybridge/anybridge/core"
)

// ProcessStatus is how the process of a plugin is.
type ProcessStatus struct {
	State    core.State `json:"state"` // Up, Connecting (being started) or Down (waiting for the next start, or closed)
	PID      int        `json:"pid,omitempty"`
	Started  time.Time  `json:"started,omitzero"`
	Restarts int        `json:"restarts"`            // since Launch
	LastExit string     `json:"last_exit,omitempty"` // how the last process ended, or why none could be started
	RSS      int64      `json:"rss,omitempty"`       // resident memory in bytes; 0 where it is not known
}

// Process tells how the process is.
func (p *Plugin) Process() ProcessStatus {
	p.mu.Lock()
	status := p.status
	p.mu.Unlock()
	if status.PID != 0 {
		status.RSS = residentBytes(status.PID)
	}
	return status
}

func (s ProcessStatus) reason() string {
	switch s.State {
	case core.Connecting:
		return "the plugin process is being restarted" + because(s.LastExit)
	default:
		return "the plugin process is down" + because(s.LastExit)
	}
}

// residentBytes reads the second field of /proc/PID/statm (proc(5)).
func residentBytes(pid int) int64 {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
