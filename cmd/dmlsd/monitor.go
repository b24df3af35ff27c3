package main

import (
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/dmlsd/dmls/internal/api"
)

// monitor is the opt-in port for health and metrics. A nil one does nothing.
type monitor struct {
	l net.Listener
	s *http.Server
}

// listenMonitor opens the port, so that a wrong address is refused before
// anything else is begun.
func listenMonitor(addr string) (*monitor, error) {
	if addr == "" {
		return nil, nil
	}
	l, err := api.ListenLoopback(addr)
	if err != nil {
		return nil, err
	}
	return &monitor{l: l}, nil
}

func (m *monitor) serve(h http.Handler, failed chan<- error) {
	if m == nil {
		return
	}
	m.s = &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10}
	go func() {
		if err := m.s.Serve(m.l); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}()
}

// String is what the line of a ready daemon says of it.
func (m *monitor) String() string {
	if m == nil {
		return ""
	}
	return "  metrics http://" + m.l.Addr().String() + "/metrics"
}

// Close cuts what is under way: whoever asks, asks again.
func (m *monitor) Close() {
	switch {
	case m == nil:
	case m.s != nil:
		_ = m.s.Close()
	default:
		_ = m.l.Close()
	}
}
