package frame

import "errors"

// Errors of this package. Those that parsers return wrap one of them and say
// what was wrong.
var (
	ErrMalformed = errors.New("frame: malformed")
	ErrLinks     = errors.New("frame: malformed links")
	ErrSize      = errors.New("frame: too large")
	ErrVersion   = errors.New("frame: unknown version of a block")
	ErrSealed    = errors.New("frame: does not open with this gossip key")
	ErrNonce     = errors.New("frame: nonce is not the content's")
)
