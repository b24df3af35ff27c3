package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// noCoreDumps keeps the memory of a process with keys out of files, and out of
// reach of other processes of the user (ptrace, /proc/PID/mem).
func noCoreDumps() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("dmlsd: disabling core dumps: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("dmlsd: disabling core dumps: %w", err)
	}
	return nil
}
