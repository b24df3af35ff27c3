package store

import "errors"

// Each of these is a fault of its own; the text around it says what was found
// and what to do.
var (
	ErrClosed       = errors.New("store: closed")
	ErrLocked       = errors.New("store: in use by another process")
	ErrNewerFormat  = errors.New("store: written by a newer version of dmls; update dmls")
	ErrRootMismatch = errors.New("store: the root key does not belong to these records")
	ErrCorrupt      = errors.New("store: damaged")
	ErrDiskFull     = errors.New("store: not enough free disk space")
	ErrUnsafe       = errors.New("store: the directory is not safe to keep keys in")
	// ErrBroken is returned by every call after a write failed half-way; what
	// the disk holds is known again once the store was closed and opened.
	ErrBroken   = errors.New("store: a write failed; close the store and open it again")
	ErrSealed   = errors.New("store: the root key is sealed")
	ErrWrongKey = errors.New("store: the root key cannot be unsealed")
	ErrKey      = errors.New("store: a key has 1 to 1024 bytes")
	ErrClass    = errors.New("store: a value is Public, Secret or History")
	ErrOptions  = errors.New("store: option out of range")
)
