package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	socketName  = "api.sock"
	pointerName = "socket" // holds the socket's path where the home's is too long
	// maxSocketPath: sun_path has 108 bytes on Linux and 104 on macOS.
	maxSocketPath = 100
)

// ErrLive says that another daemon answers on the home's socket.
var ErrLive = errors.New("api: another daemon answers on the socket of this home")

// SocketPath is where the socket of a home is, running or not.
func SocketPath(home string) (string, error) {
	b, err := os.ReadFile(filepath.Join(home, pointerName))
	switch {
	case err == nil:
		return strings.TrimSpace(string(b)), nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("api: %w", err)
	}
	return filepath.Join(home, socketName), nil
}

// checkSocketDir refuses a socket in a directory that others may enter. A home
// with a long path has its socket in the temporary directory, where somebody
// else could put one of his own after a crash.
func checkSocketDir(home, path string) error {
	if filepath.Dir(path) == filepath.Clean(home) {
		return nil
	}
	fi, err := os.Stat(filepath.Dir(path))
	if err == nil && fi.Mode().Perm()&0o077 != 0 {
		err = fmt.Errorf("api: others may enter %s: %w", filepath.Dir(path), fs.ErrPermission)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the dial says it better
	}
	return err
}

// Live says whether a daemon answers on the home's socket.
func Live(home string) bool {
	path, err := SocketPath(home)
	if err != nil {
		return false
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// Listen opens the home's socket with mode 0600. A socket that a killed daemon
// left behind is replaced, one that answers gives ErrLive. Closing the
// listener removes the socket and what was made for it.
func Listen(home string) (net.Listener, error) {
	if Live(home) {
		return nil, ErrLive
	}
	if err := sweep(home); err != nil {
		return nil, err
	}
	path, clean := filepath.Join(home, socketName), func() {}
	if len(path) > maxSocketPath {
		dir, err := os.MkdirTemp("", "dmlsd-") // mode 0700
		if err != nil {
			return nil, fmt.Errorf("api: a directory for the socket: %w", err)
		}
		pointer := filepath.Join(home, pointerName)
		path, clean = filepath.Join(dir, socketName), func() {
			_ = os.Remove(pointer)
			_ = os.Remove(dir)
		}
		if err := os.WriteFile(pointer, []byte(path+"\n"), 0o600); err != nil {
			clean()
			return nil, fmt.Errorf("api: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		clean()
		return nil, fmt.Errorf("api: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		clean()
		return nil, fmt.Errorf("api: %w", err)
	}
	return &listener{Listener: l, clean: clean}, nil
}

// sweep removes what a killed daemon left: its socket and, where the path was
// too long, the directory that held it.
func sweep(home string) error {
	path, err := SocketPath(home)
	if err != nil {
		return err
	}
	if fi, err := os.Lstat(path); err == nil {
		if fi.Mode()&fs.ModeSocket == 0 {
			return fmt.Errorf("api: %s is in the way: it is not a socket", path)
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("api: the old socket: %w", err)
		}
	}
	if filepath.Dir(path) != filepath.Clean(home) {
		_ = os.Remove(filepath.Dir(path)) // only if empty
		_ = os.Remove(filepath.Join(home, pointerName))
	}
	return nil
}

type listener struct {
	net.Listener
	clean func()
}

func (l *listener) Close() error {
	err := l.Listener.Close() // unlinks the socket
	l.clean()
	return err
}
