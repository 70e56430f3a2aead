package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// file is the log on the disk, and the former ones beside it: FILE.1 is the
// youngest. It belongs to one goroutine.
type file struct {
	path    string
	maxSize int64
	keep    int

	f    *os.File // nil after a mishap: it is opened again
	size int64
}

// open goes on at the end of the file. A line that was cut off is ended.
func (f *file) open() error {
	opened, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	f.f = opened
	err = f.prepare()
	if err != nil {
		_ = opened.Close()
		f.f = nil
	}
	return err
}

func (f *file) prepare() error {
	if err := f.f.Chmod(0o600); err != nil {
		return fmt.Errorf("keep others from reading it: %w", err)
	}
	info, err := f.f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a plain file", f.path)
	}
	f.size = info.Size()
	if f.size == 0 {
		return nil
	}
	var last [1]byte
	if _, err := f.f.ReadAt(last[:], f.size-1); err != nil {
		return err
	}
	if last[0] == '\n' {
		return nil
	}
	n, err := f.f.WriteString("\n")
	f.size += int64(n)
	return err
}

// write appends the batches and tells each how that went.
func (f *file) write(batches []*batch) {
	for len(batches) > 0 {
		n := 1
		text := batches[0].text
		for n < len(batches) && f.size+int64(len(text)+len(batches[n].text)) <= f.maxSize {
			text = append(text[:len(text):len(text)], batches[n].text...)
			n++
		}
		err := f.append(text)
		for _, b := range batches[:n] {
			b.err = err
			close(b.written)
		}
		batches = batches[n:]
	}
}

// append writes to the file, or to a new one if it would become too large.
func (f *file) append(text []byte) error {
	if f.f == nil {
		if err := f.open(); err != nil {
			return err
		}
	}
	if f.size > 0 && f.size+int64(len(text)) > f.maxSize {
		if err := f.rotate(); err != nil {
			return err
		}
	}
	n, err := f.f.Write(text)
	f.size += int64(n)
	if err != nil {
		_ = f.f.Close()
		f.f = nil
	}
	return err
}

// rotate makes FILE to FILE.1, and so on; the oldest goes.
func (f *file) rotate() error {
	if err := f.close(); err != nil {
		return err
	}
	former := func(i int) string { return fmt.Sprintf("%s.%d", f.path, i) }
	for i := f.keep - 1; i >= 1; i-- {
		if err := os.Rename(former(i), former(i+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("rotate the audit log: %w", err)
		}
	}
	if err := os.Rename(f.path, former(1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("rotate the audit log: %w", err)
	}
	return f.open()
}

// close makes sure that all is on the disk.
func (f *file) close() error {
	if f.f == nil {
		return nil
	}
	err := errors.Join(f.f.Sync(), f.f.Close())
	f.f, f.size = nil, 0
	return err
}
