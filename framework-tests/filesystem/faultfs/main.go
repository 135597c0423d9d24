// faultfs SOURCE MOUNTPOINT shows the folder SOURCE at MOUNTPOINT and behaves as it is told, one line of stdin each, answered by one
// line: the file systems of clusters on one machine. It ends with stdin. README.md says what can be told.
package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

var errnos = map[string]syscall.Errno{
	"EACCES": syscall.EACCES, "EEXIST": syscall.EEXIST, "EINVAL": syscall.EINVAL, "EIO": syscall.EIO, "ENOSPC": syscall.ENOSPC,
	"ENOSYS": syscall.ENOSYS, "EOPNOTSUPP": syscall.EOPNOTSUPP, "EPERM": syscall.EPERM, "EXDEV": syscall.EXDEV,
}

var operations = []string{"create", "fsync", "inodes", "link", "mkdir", "open", "rename", "rmdir", "unlink", "write"}

// fault is how one operation behaves.
type fault struct {
	errno syscall.Errno
	once  bool
	delay time.Duration
}

// faulty passes everything on to the folder beneath, but for what it was told.
type faulty struct {
	fuse.RawFileSystem
	lock   sync.Mutex
	faults map[string]fault
	// Inode numbers change with each look, and are never those of another file.
	changing atomic.Bool
	number   atomic.Uint64
}

// tell takes `OPERATION=ERRNO`, `OPERATION=ERRNO once`, `OPERATION=DURATION`, `inodes=changing`, or `OPERATION=` for no fault.
func (f *faulty) tell(line string) error {
	operation, how, found := strings.Cut(strings.TrimSpace(line), "=")
	known := false
	for _, name := range operations {
		known = known || name == operation
	}
	if !found || !known {
		return fmt.Errorf("none of %v: %q", operations, line)
	}
	if operation == "inodes" {
		f.changing.Store(how == "changing")
		return nil
	}
	var new fault
	word, rest, _ := strings.Cut(how, " ")
	if errno, ok := errnos[word]; ok {
		new = fault{errno: errno, once: rest == "once"}
	} else if how != "" {
		delay, err := time.ParseDuration(how)
		if err != nil {
			return fmt.Errorf("neither an error nor a time: %q", how)
		}
		new = fault{delay: delay}
	}
	f.lock.Lock()
	defer f.lock.Unlock()
	f.faults[operation] = new
	return nil
}

func (f *faulty) meet(operation string) fuse.Status {
	f.lock.Lock()
	met := f.faults[operation]
	if met.once {
		delete(f.faults, operation)
	}
	f.lock.Unlock()
	time.Sleep(met.delay)
	return fuse.Status(met.errno)
}

func (f *faulty) renumber(attr *fuse.Attr) {
	if f.changing.Load() {
		attr.Ino = f.number.Add(1)
	}
}

func (f *faulty) Lookup(cancel <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	status := f.RawFileSystem.Lookup(cancel, header, name, out)
	f.renumber(&out.Attr)
	return status
}

func (f *faulty) GetAttr(cancel <-chan struct{}, input *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	status := f.RawFileSystem.GetAttr(cancel, input, out)
	f.renumber(&out.Attr)
	return status
}

// Statx is not known here, so that the kernel asks GetAttr.
func (f *faulty) Statx(<-chan struct{}, *fuse.StatxIn, *fuse.StatxOut) fuse.Status {
	return fuse.ENOSYS
}

func (f *faulty) Create(cancel <-chan struct{}, input *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	if status := f.meet("create"); !status.Ok() {
		return status
	}
	status := f.RawFileSystem.Create(cancel, input, name, out)
	f.renumber(&out.Attr)
	return status
}

func (f *faulty) Mkdir(cancel <-chan struct{}, input *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	if status := f.meet("mkdir"); !status.Ok() {
		return status
	}
	return f.RawFileSystem.Mkdir(cancel, input, name, out)
}

func (f *faulty) Open(cancel <-chan struct{}, input *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if status := f.meet("open"); !status.Ok() {
		return status
	}
	return f.RawFileSystem.Open(cancel, input, out)
}

func (f *faulty) Write(cancel <-chan struct{}, input *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	if status := f.meet("write"); !status.Ok() {
		return 0, status
	}
	return f.RawFileSystem.Write(cancel, input, data)
}

// Writev is not known here, so that Write is called.
func (f *faulty) Writev(<-chan struct{}, *fuse.WriteIn, [][]byte) (uint32, fuse.Status) {
	return 0, fuse.ENOSYS
}

func (f *faulty) Fsync(cancel <-chan struct{}, input *fuse.FsyncIn) fuse.Status {
	if status := f.meet("fsync"); !status.Ok() {
		return status
	}
	return f.RawFileSystem.Fsync(cancel, input)
}

func (f *faulty) FsyncDir(cancel <-chan struct{}, input *fuse.FsyncIn) fuse.Status {
	if status := f.meet("fsync"); !status.Ok() {
		return status
	}
	return f.RawFileSystem.FsyncDir(cancel, input)
}

func (f *faulty) Unlink(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	if status := f.meet("unlink"); !status.Ok() {
		return status
	}
	return f.RawFileSystem.Unlink(cancel, header, name)
}

func (f *faulty) Rmdir(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	if status := f.meet("rmdir"); !status.Ok() {
		return status
	}
	return f.RawFileSystem.Rmdir(cancel, header, name)
}

func (f *faulty) Rename(cancel <-chan struct{}, input *fuse.RenameIn, oldName string, newName string) fuse.Status {
	if status := f.meet("rename"); !status.Ok() {
		return status
	}
	return f.RawFileSystem.Rename(cancel, input, oldName, newName)
}

func (f *faulty) Link(cancel <-chan struct{}, input *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	if status := f.meet("link"); !status.Ok() {
		return status
	}
	return f.RawFileSystem.Link(cancel, input, name, out)
}

// serve mounts it, and answers lines until stdin ends.
func serve(source, mountpoint string) error {
	root, err := fs.NewLoopbackRoot(source)
	if err != nil {
		return err
	}
	// Nothing is kept by the kernel: each look is answered here.
	never := time.Duration(0)
	options := &fs.Options{AttrTimeout: &never, EntryTimeout: &never, NegativeTimeout: &never}
	raw := &faulty{RawFileSystem: fs.NewNodeFS(root, options), faults: map[string]fault{}}
	raw.number.Store(1 << 40)
	mount := &fuse.MountOptions{
		DirectMount: true, DisableReadDirPlus: true, Name: "faultfs",
		// Where the kernel writes to the folder beneath by itself, nothing is asked here.
		DisabledCapabilities: fuse.CAP_PASSTHROUGH,
		// It would say that Writev is not known.
		Logger: log.New(io.Discard, "", 0),
	}
	server, err := fuse.NewServer(raw, mountpoint, mount)
	if err != nil {
		return err
	}
	go server.Serve()
	if err := server.WaitMount(); err != nil {
		return err
	}
	fmt.Println("mounted")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := raw.tell(lines.Text()); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("ok")
	}
	if err := server.Unmount(); err != nil {
		// A program still works in it: it goes when that ends.
		return syscall.Unmount(mountpoint, syscall.MNT_DETACH)
	}
	return nil
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("faultfs SOURCE MOUNTPOINT")
	}
	if err := serve(os.Args[1], os.Args[2]); err != nil {
		log.Fatalf("faultfs: %v", err)
	}
}
