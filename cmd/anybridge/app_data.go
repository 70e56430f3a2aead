package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
)

// openDataDir makes the data folder, or takes from others what rights they have
// on it. Where modes mean nothing (Windows), nothing is checked.
func (a *app) openDataDir(dir string) error {
	const hint = "data_dir in the configuration, or --data-dir"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the data folder (%s): %w", hint, err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at the data folder (%s): %w", hint, err)
	}
	if err := a.tighten(dir, info, 0o700); err != nil {
		return fmt.Errorf("the data folder %s is open to others (mode %#o), and that cannot be changed: give it to the user of the bridge, or choose another one (%s): %w",
			dir, info.Mode().Perm(), hint, err)
	}
	return nil
}

// tighten takes away the rights that go beyond mode.
func (a *app) tighten(path string, info fs.FileInfo, mode fs.FileMode) error {
	was := info.Mode()
	if was.Perm()&^mode == 0 || runtime.GOOS == "windows" {
		return nil
	}
	if err := os.Chmod(path, was&^(fs.ModePerm&^mode)); err != nil {
		return err
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.Mode().Perm()&^mode != 0:
		return errors.New("the file system does not keep modes")
	}
	a.log.Warn("others could read it: the mode was changed", slog.String("path", path), slog.String("from", was.Perm().String()), slog.String("to", info.Mode().Perm().String()))
	return nil
}
