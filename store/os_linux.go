package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData makes the bytes of f durable. Its length was made so before, thus
// nothing but the time stamp is left to the next sync of the file.
func syncData(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err != unix.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
