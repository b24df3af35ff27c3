package main

import (
	"errors"
	"io"
	"sync"
	"syscall"

	"github.com/dmlsd/dmls/internal/api"
)

// output is what a command prints its data to. The first failure ends the
// command, since nobody reads what comes after it.
type output struct {
	w    io.Writer
	stop func()

	mu  sync.Mutex
	err error
}

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(b)
	if err != nil {
		o.err = err
		o.stop()
	}
	return n, err
}

// failure is nil while all was written. Who closes a pipe wants no more and no
// complaint: closed is true then.
func (o *output) failure() (e *api.Error, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.err == nil:
		return nil, false
	case errors.Is(o.err, syscall.EPIPE) || errors.Is(o.err, io.ErrClosedPipe):
		return nil, true
	}
	e = api.Explain("cannot print", o.err)
	e.Fix = "see where standard output goes"
	return e, false
}
