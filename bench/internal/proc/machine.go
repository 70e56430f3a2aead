package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Busy is how long the cores of this machine have worked so far, all together,
// for whomever: what others take away from a measurement is its growth less what
// the measured processes have used. Time stolen by a hypervisor counts too.
// Interrupts do not: loopback traffic is ours.
func Busy() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseBusy(string(b))
}

// parseBusy adds user, nice, system and steal of the first line of /proc/stat.
func parseBusy(stat string) (time.Duration, error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat: %q", line)
	}
	var ticks int64
	for _, i := range []int{1, 2, 3, 8} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}
