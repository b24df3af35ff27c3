// Package faulty makes system calls of a test's process fail.
package faulty

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Syncs are the calls that make writes durable.
var Syncs = []uint32{unix.SYS_MSYNC, unix.SYS_FSYNC, unix.SYS_FDATASYNC}

// Fail makes system calls of this process, by their numbers, fail with EIO, for
// good. An error means that the kernel does not let it.
func Fail(calls ...uint32) error {
	const (
		load = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		jeq  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ret  = unix.BPF_RET | unix.BPF_K
	)
	prog := []unix.SockFilter{{Code: load, K: 0}} // the number of the call
	for i, c := range calls {
		prog = append(prog, unix.SockFilter{Code: jeq, K: c, Jt: uint8(len(calls) - i)})
	}
	prog = append(prog,
		unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EIO)})
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	_, _, no := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&fprog)))
	runtime.KeepAlive(prog)
	if no != 0 {
		return no
	}
	return nil
}
