package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockFolder makes sure that no other bridge uses the data folder. The lock goes
// with the process, however it ends.
func lockFolder(dir string) (io.Closer, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("another bridge uses the data folder %s: stop it, or choose another one (data_dir in the configuration, --data-dir)", dir)
	}
	return nil, fmt.Errorf("lock the data folder: %w", err)
}

// unlock gives the data folder back.
func (a *app) unlock() {
	if a.lock != nil {
		_ = a.lock.Close()
	}
}
