package plugins

import (
	"errors"
	"os/exec"

	"golang.org/x/sys/unix"
)

// reap waits for the child to die, then kills what is left of its group. The group
// is killed before the child is waited for: until then its number cannot be
// somebody else's.
func reap(cmd *exec.Cmd) error {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	killGroup(cmd.Process.Pid)
	return cmd.Wait()
}
