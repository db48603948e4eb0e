//go:build unix

package bench

import (
	"os/exec"
	"syscall"
)

// ownGroup puts a process and those that it starts into a group of their own,
// which is killed as one when the context of cmd ends: a compiler that a build tool
// has started must not go on.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
