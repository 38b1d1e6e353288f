package brokertest

import (
	"os/exec"
	"syscall"
)

// endWithParent has the broker killed with the test, whatever ends that.
func endWithParent(process *exec.Cmd) {
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
