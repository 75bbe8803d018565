package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// listenSocket opens the Unix socket that leveret ctl finds, for nobody but the
// user we run as: who can connect to it is an operator and needs no password.
// One that is there is left from a broker that was killed, since the data
// directory is ours.
func listenSocket(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	// It is made where nobody else can reach it until its mode is right.
	dir, err := os.MkdirTemp(filepath.Dir(path), ".ctl")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false)
	if err := os.Chmod(made, 0o600); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	if err := os.Rename(made, path); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return &socket{ln, path}, nil
}

// socket removes its file when it is closed.
type socket struct {
	net.Listener
	path string
}

// Close is part of net.Listener.
func (s *socket) Close() error {
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return errors.Join(fmt.Errorf("remove the socket: %w", err), s.Listener.Close())
	}
	return s.Listener.Close()
}
