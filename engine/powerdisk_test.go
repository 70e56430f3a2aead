package engine_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// disk is a file system in memory that knows, of everything in it, what a loss of
// power would leave. It has two sides: what programs see, and what has been synced.
//
// The rules are those of POSIX, with the one addition that the file systems of Linux
// make and programs rely on:
//
//   - What is written to a file survives once the file is synced, by fsync, fdatasync
//     or a descriptor with O_SYNC or O_DSYNC. Of what was written later, any part
//     survives: nothing, a beginning, or late writes without early ones. The last
//     one may be torn.
//   - A change of a folder's entries (create, rename, remove) survives once the folder
//     is synced. Of later changes any beginning survives, in their order.
//   - Syncing a file also makes its name survive, and the names of the folders above
//     it. ext4 and XFS do because the journal is written out up to the file's last
//     change, btrfs because fsync logs new names.
//
// What "in their order" spans depends on the disk: with a journal, all folders have
// one order, and the sync of a file that has changed writes out all that came before
// (ext4 and XFS). Without one, each folder has an order of its own, so that a change
// in one folder survives and an earlier one in another does not. No journaling file
// system does that: it is the harsher of the two.
type disk struct {
	mu      sync.Mutex
	journal *entryLog // of all folders; nil: each has its own
	logs    []*entryLog
	changes []*entryChange
	root    *inode
	off     bool
	dark    chan struct{} // closed when those who wait for a disk without power may go
}

// inode is a file or a folder. Its fields are guarded by the disk's mutex.
type inode struct {
	folder bool
	parent *inode       // the folder it has its name in
	named  *entryChange // gave it its name
	log    *entryLog    // of a folder

	data   []byte // as programs see it
	synced []byte
	since  []dataChange // what the two differ in
}

// dataChange is a write or, with data nil, a change of size.
type dataChange struct {
	at   int64
	data []byte
}

// entryChange sets entries of folders, at once.
type entryChange struct {
	set  []entry
	logs []*entryLog // of the folders
	at   []int       // its place in each of them
}

type entry struct {
	in   *inode
	name string
	is   *inode // nil: none
}

// entryLog is a list of changes of which any beginning may survive, but no less than
// kept.
type entryLog struct {
	changes []*entryChange
	kept    int
}

// image is what is on a disk: files by path, and folders, whose paths end in "/".
type image map[string][]byte

// newDisk makes a disk that holds an image, all of it synced.
func newDisk(journal bool, content image) *disk {
	d := &disk{dark: make(chan struct{})}
	if journal {
		d.journal = &entryLog{}
		d.logs = append(d.logs, d.journal)
	}
	d.root = d.newInode(true)
	folders := map[string]*inode{".": d.root}
	for _, path := range content.paths() {
		i := d.newInode(strings.HasSuffix(path, "/"))
		i.data, i.synced = slices.Clone(content[path]), slices.Clone(content[path])
		path = filepath.Clean(path)
		folders[path] = i
		d.change(entry{folders[filepath.Dir(path)], filepath.Base(path), i})
	}
	for _, l := range d.logs {
		l.kept = len(l.changes)
	}
	return d
}

func (d *disk) newInode(folder bool) *inode {
	i := &inode{folder: folder}
	if folder {
		if i.log = d.journal; i.log == nil {
			i.log = &entryLog{}
			d.logs = append(d.logs, i.log)
		}
	}
	return i
}

// change changes entries as programs see them.
func (d *disk) change(set ...entry) {
	c := &entryChange{set: set}
	for _, e := range set {
		if !slices.Contains(c.logs, e.in.log) {
			c.logs = append(c.logs, e.in.log)
			c.at = append(c.at, len(e.in.log.changes))
			e.in.log.changes = append(e.in.log.changes, c)
		}
		if e.is != nil {
			e.is.parent, e.is.named = e.in, c
		}
	}
	d.changes = append(d.changes, c)
}

// keep makes the first n changes of a log survive, with what comes before them in
// other folders that they concern.
func (l *entryLog) keep(n int) {
	for l.kept < n {
		c := l.changes[l.kept]
		l.kept++
		for i, other := range c.logs {
			other.keep(c.at[i] + 1)
		}
	}
}

// write changes a file as programs see it.
func (i *inode) write(c dataChange) {
	i.since = append(i.since, c)
	i.data = c.on(i.data)
}

// on returns b with the change.
func (c *dataChange) on(b []byte) []byte {
	end := c.at + int64(len(c.data))
	if n := int64(len(b)); end > n {
		b = append(b, make([]byte, end-n)...)
	} else if c.data == nil {
		clear(b[end:]) // growing again shows zeros
		b = b[:end]
	}
	copy(b[c.at:], c.data)
	return b
}

// sync brings what programs see of a file or folder to the disk.
func (d *disk) sync(i *inode) {
	if i.folder {
		i.log.keep(len(i.log.changes))
		return
	}
	if d.journal != nil && len(i.since) > 0 {
		d.journal.keep(len(d.journal.changes))
	}
	for _, c := range i.since {
		i.synced = c.on(i.synced)
	}
	i.since = nil
	for ; i.named != nil; i = i.parent {
		for n, l := range i.named.logs {
			l.keep(i.named.at[n] + 1)
		}
	}
}

// cut ends the power: nothing that comes later changes the disk. Who tries waits
// until release.
func (d *disk) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
}

// release fails what waits since cut.
func (d *disk) release() { close(d.dark) }

// begin locks the disk for a change, and reports whether there is power for it.
func (d *disk) begin() bool {
	d.mu.Lock()
	if d.off {
		d.mu.Unlock()
		<-d.dark
		return false
	}
	return true
}

// seen is the disk as programs see it.
func (d *disk) seen() image {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.image(func(*entryChange) bool { return true }, func(i *inode) []byte { return i.data })
}

// survives is what a loss of power now would leave; r decides where it is left to
// chance.
func (d *disk) survives(r *rand.Rand) image {
	d.mu.Lock()
	defer d.mu.Unlock()
	upTo := map[*entryLog]int{}
	for _, l := range d.logs {
		upTo[l] = l.kept + r.IntN(len(l.changes)-l.kept+1)
	}
	survives := func(c *entryChange) bool {
		for n, l := range c.logs {
			if c.at[n] >= upTo[l] { // then nothing after it does, in any of the folders
				for n, l := range c.logs {
					upTo[l] = min(upTo[l], c.at[n])
				}
				return false
			}
		}
		return true
	}
	return d.image(survives, func(i *inode) []byte {
		b, since := slices.Clone(i.synced), slices.Clone(i.since)
		switch r.IntN(3) {
		case 0:
			since = nil
		case 1:
			since = since[:r.IntN(len(since)+1)]
		case 2:
			since = slices.DeleteFunc(since, func(dataChange) bool { return r.IntN(2) == 0 })
		}
		for n, c := range since {
			if n == len(since)-1 && len(c.data) > 0 {
				c.data = c.data[:r.IntN(len(c.data)+1)]
			}
			b = c.on(b)
		}
		return b
	})
}

// image takes in the changes that survive, in order, and what is found then.
func (d *disk) image(survives func(*entryChange) bool, data func(*inode) []byte) image {
	folders := map[*inode]map[string]*inode{}
	for _, c := range d.changes {
		if !survives(c) {
			continue
		}
		for _, e := range c.set {
			if folders[e.in] == nil {
				folders[e.in] = map[string]*inode{}
			}
			if e.is == nil {
				delete(folders[e.in], e.name)
			} else {
				folders[e.in][e.name] = e.is
			}
		}
	}
	out := image{}
	var walk func(prefix string, i *inode)
	walk = func(prefix string, i *inode) {
		for name, child := range folders[i] {
			if child.folder {
				out[prefix+name+"/"] = nil
				walk(prefix+name+"/", child)
			} else {
				out[prefix+name] = slices.Clone(data(child))
			}
		}
	}
	walk("", d.root)
	return out
}

// paths are those of the image, folders before what is in them.
func (m image) paths() []string {
	paths := make([]string, 0, len(m))
	for path := range m {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}

// writeTo copies the image into a folder.
func (m image) writeTo(dir string) error {
	for _, path := range m.paths() {
		var err error
		if full := filepath.Join(dir, path); strings.HasSuffix(path, "/") {
			err = os.Mkdir(full, 0o700)
		} else {
			err = os.WriteFile(full, m[path], 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
