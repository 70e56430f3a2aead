//go:build !linux

package plugins

import "os/exec"

// reap waits for the child to die, then kills what is left of its group.
func reap(cmd *exec.Cmd) error {
	err := cmd.Wait()
	killGroup(cmd.Process.Pid)
	return err
}
