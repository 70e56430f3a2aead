package engine_test

import (
	"context"
	"io"
	"log"
	"os"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// mount shows a disk to the processes that are given the returned folder. It is
// mounted nowhere else, and is gone as soon as nobody has the folder open any more:
// there is nothing to unmount, whatever happens to the test.
func mount(t *testing.T, d *disk) *os.File {
	t.Helper()
	at := t.TempDir()
	server, err := fs.Mount(at, &diskNode{d: d, i: d.root}, &fs.Options{MountOptions: fuse.MountOptions{
		DirectMountStrict: true, FsName: "powerdisk", Name: "powerdisk", DisableXAttrs: true, MaxWrite: 1 << 20,
		Logger: log.New(io.Discard, "", 0), // it says that the file system is gone
	}})
	if err != nil {
		message := "no FUSE file system can be mounted (it takes root and /dev/fuse): " + err.Error()
		if os.Getenv("ANYBRIDGE_TEST_CLIENTS") == "required" {
			t.Fatal(message)
		}
		t.Skip(message)
	}
	folder, err := os.Open(at)
	if unmountErr := syscall.Unmount(at, syscall.MNT_DETACH); unmountErr != nil {
		t.Fatal(unmountErr)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		folder.Close()
		server.Wait()
	})
	return folder
}

// diskNode is an inode as the kernel sees it. Its children, as programs see them, are
// kept by the library.
type diskNode struct {
	fs.Inode
	d *disk
	i *inode
}

// opened is an open file.
type opened struct{ sync bool }

var _ interface {
	fs.NodeOpener
	fs.NodeCreater
	fs.NodeMkdirer
	fs.NodeUnlinker
	fs.NodeRmdirer
	fs.NodeRenamer
	fs.NodeReader
	fs.NodeWriter
	fs.NodeFsyncer
	fs.NodeGetattrer
	fs.NodeSetattrer
	fs.NodeStatfser
} = (*diskNode)(nil)

// add makes a file or folder.
func (n *diskNode) add(ctx context.Context, name string, mode uint32) (*fs.Inode, syscall.Errno) {
	if !n.d.begin() {
		return nil, syscall.EIO
	}
	defer n.d.mu.Unlock()
	i := n.d.newInode(mode == syscall.S_IFDIR)
	n.d.change(entry{n.i, name, i})
	return n.NewPersistentInode(ctx, &diskNode{d: n.d, i: i}, fs.StableAttr{Mode: mode}), 0
}

func (n *diskNode) Mkdir(ctx context.Context, name string, _ uint32, _ *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.add(ctx, name, syscall.S_IFDIR)
}

func (n *diskNode) Create(ctx context.Context, name string, flags, _ uint32, _ *fuse.EntryOut) (child *fs.Inode, f fs.FileHandle, fuseFlags uint32, errno syscall.Errno) {
	child, errno = n.add(ctx, name, syscall.S_IFREG)
	f, fuseFlags = open1(flags)
	return child, f, fuseFlags, errno
}

// open1 opens a file past the kernel's cache: each write comes here, in order.
func open1(flags uint32) (f fs.FileHandle, fuseFlags uint32) {
	return &opened{sync: flags&(syscall.O_SYNC|syscall.O_DSYNC) != 0}, fuse.FOPEN_DIRECT_IO
}

func (n *diskNode) Open(_ context.Context, flags uint32) (f fs.FileHandle, fuseFlags uint32, errno syscall.Errno) {
	if flags&syscall.O_TRUNC != 0 {
		if !n.d.begin() {
			return nil, 0, syscall.EIO
		}
		n.i.write(dataChange{})
		n.d.mu.Unlock()
	}
	f, fuseFlags = open1(flags)
	return f, fuseFlags, 0
}

func (n *diskNode) remove(name string) syscall.Errno {
	if !n.d.begin() {
		return syscall.EIO
	}
	defer n.d.mu.Unlock()
	n.d.change(entry{n.i, name, nil})
	return 0
}

func (n *diskNode) Unlink(_ context.Context, name string) syscall.Errno { return n.remove(name) }

func (n *diskNode) Rmdir(_ context.Context, name string) syscall.Errno {
	if child := n.GetChild(name); child != nil && len(child.Children()) > 0 {
		return syscall.ENOTEMPTY
	}
	return n.remove(name)
}

func (n *diskNode) Rename(_ context.Context, name string, newParent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to := newParent.EmbeddedInode()
	if flags != 0 {
		return syscall.EINVAL
	}
	if there := to.GetChild(newName); there != nil && len(there.Children()) > 0 {
		return syscall.ENOTEMPTY
	}
	if !n.d.begin() {
		return syscall.EIO
	}
	defer n.d.mu.Unlock()
	moved := n.GetChild(name).Operations().(*diskNode).i
	n.d.change(entry{n.i, name, nil}, entry{to.Operations().(*diskNode).i, newName, moved})
	return 0
}

func (n *diskNode) Read(_ context.Context, _ fs.FileHandle, b []byte, at int64) (fuse.ReadResult, syscall.Errno) {
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	if at >= int64(len(n.i.data)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(b[:copy(b, n.i.data[at:])]), 0
}

func (n *diskNode) Write(_ context.Context, f fs.FileHandle, data []byte, at int64) (uint32, syscall.Errno) {
	if !n.d.begin() {
		return 0, syscall.EIO
	}
	defer n.d.mu.Unlock()
	n.i.write(dataChange{at, append([]byte{}, data...)})
	if f.(*opened).sync {
		n.d.sync(n.i)
	}
	return uint32(len(data)), 0
}

// Fsync is also that of folders.
func (n *diskNode) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	if !n.d.begin() {
		return syscall.EIO
	}
	defer n.d.mu.Unlock()
	n.d.sync(n.i)
	return 0
}

func (n *diskNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.d.mu.Lock()
	defer n.d.mu.Unlock()
	out.Mode, out.Size = 0o700, uint64(len(n.i.data))
	return 0
}

func (n *diskNode) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		if !n.d.begin() {
			return syscall.EIO
		}
		n.i.write(dataChange{at: int64(size)})
		n.d.mu.Unlock()
	}
	return n.Getattr(ctx, f, out)
}

func (n *diskNode) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	out.Bsize, out.Blocks, out.Bfree, out.Bavail = 4096, 1<<24, 1<<24, 1<<24
	return 0
}

// OnAdd makes the kernel's nodes of what the disk holds already.
func (n *diskNode) OnAdd(ctx context.Context) {
	if n.i != n.d.root {
		return
	}
	nodes := map[*inode]*fs.Inode{n.i: n.EmbeddedInode()}
	for _, c := range n.d.changes { // an image's: each adds one entry, folders first
		e := c.set[0]
		mode := uint32(syscall.S_IFREG)
		if e.is.folder {
			mode = syscall.S_IFDIR
		}
		child := n.NewPersistentInode(ctx, &diskNode{d: n.d, i: e.is}, fs.StableAttr{Mode: mode})
		nodes[e.in].AddChild(e.name, child, false)
		nodes[e.is] = child
	}
}
