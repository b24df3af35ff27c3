package store

import "errors"

// Each of these is a fault of its own; text around them says more.
var (
	ErrClosed       = errors.New("store: closed")
	ErrLocked       = errors.New("store: in use by another process")
	ErrNewerFormat  = errors.New("store: written by a newer version of dmls; update dmls")
	ErrRootMismatch = errors.New("store: the root key does not belong to these records")
	ErrCorrupt      = errors.New("store: damaged")
	ErrDiskFull     = errors.New("store: not enough free disk space")
	ErrUnsafe       = errors.New("store: the directory is not safe to keep keys in")
	ErrKey          = errors.New("store: a key has 1 to 1024 bytes")
	ErrClass        = errors.New("store: a value without a class")
	ErrOptions      = errors.New("store: options out of range")
)
