package volume

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	metaName  = ".relight"
	lockName  = "lock"
	epochName = "epoch"
)

// fit lists the file systems on which a flock ends exactly with its last holder,
// by their statfs magic. On the cluster file systems (GFS2, OCFS2) the lock of a
// dead node is released only after that node was fenced.
var fit = map[int64]bool{
	unix.EXT4_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true,
	unix.BTRFS_SUPER_MAGIC: true, unix.TMPFS_MAGIC: true,
	unix.RAMFS_MAGIC: true, unix.OVERLAYFS_SUPER_MAGIC: true,
	unix.F2FS_SUPER_MAGIC: true, unix.OCFS2_SUPER_MAGIC: true,
	0x2fc12fc1: true, // ZFS
	0xca451a4e: true, // bcachefs
	0x3153464a: true, // JFS
	0x01161970: true, // GFS2
}

// check tells whether dir is a directory that can carry a lock.
func check(dir string) error {
	st, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("%w: %v", ErrUnreachable, err)
	}
	if !st.IsDir() {
		return fmt.Errorf("%s: %w: not a directory", dir, ErrUnreachable)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("%s: %w: %v", dir, ErrUnreachable, err)
	}
	if !fit[int64(fs.Type)&0xffffffff] { //nolint:unconvert // 32 bits on other machines
		return fmt.Errorf("%s: %w: type %#x", dir, ErrUnfit, fs.Type)
	}
	return nil
}

// prepare makes the record directory of a fresh volume. It is renamed into place
// with both files in it, so that later a missing file can only mean damage.
func prepare(dir, server string) (fresh bool, err error) {
	meta := filepath.Join(dir, metaName)
	if st, err := os.Lstat(meta); err == nil && !st.IsDir() {
		return false, fmt.Errorf("%s: %w: not a directory", meta, ErrCorrupt)
	} else if err == nil {
		return false, nil
	} else if !os.IsNotExist(err) {
		return false, fmt.Errorf("%w: %v", ErrUnreachable, err)
	}
	// Two creators at once would tread on each other's files.
	d, err := os.Open(dir)
	if err != nil {
		return false, fmt.Errorf("%w: %v", ErrUnreachable, err)
	}
	defer func() { _ = d.Close() }()
	if err := flock(d); err != nil {
		return false, locked(dir, d, err)
	}
	defer func() { _ = unix.Flock(int(d.Fd()), unix.LOCK_UN) }()
	if _, err := os.Lstat(meta); err == nil {
		return false, nil
	}
	tmp := meta + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return false, err
	}
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return false, err
	}
	if err := writeDurably(filepath.Join(tmp, lockName), nil); err != nil {
		return false, err
	}
	if err := writeRecord(tmp, record{Version: recordVersion, Server: server}); err != nil {
		return false, err
	}
	if err := os.Rename(tmp, meta); err != nil {
		return false, err
	}
	return true, d.Sync()
}

// take opens the lock file and locks it exclusively, without waiting.
func take(dir string) (*os.File, error) {
	path := filepath.Join(dir, metaName, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if os.IsNotExist(err) {
		return nil, fmt.Errorf("%s: %w: file is missing", path, ErrCorrupt)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrUnreachable, err)
	}
	if err := flock(f); err != nil {
		_ = f.Close()
		return nil, locked(dir, f, err)
	}
	// A lock on a file that was replaced meanwhile guards nothing.
	mine, err1 := f.Stat()
	named, err2 := os.Lstat(path)
	if err := errors.Join(err1, err2); err != nil || !os.SameFile(mine, named) {
		release(f)
		return nil, fmt.Errorf("%s: %w: file was replaced", path, ErrCorrupt)
	}
	return f, nil
}

// mark puts a second lock on the same description. It shows to F_OFD_GETLK that
// an instance may write: to look with flock would mean to take it for a moment,
// and fail a real taker. It comes after the epoch was raised, so that a mark is
// never seen together with an older epoch than its holder's, and Seal has none.
func mark(dir string, f *os.File) error {
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	if err != nil {
		return locked(dir, f, err)
	}
	return nil
}

// release unlocks f for everybody who shares its description, and closes it. It
// is for takers that share it with nobody: a child that this process is just
// starting may hold a copy until its exec, and the lock must not outlive us.
func release(f *os.File) {
	_ = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
	_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
	_ = f.Close()
}

func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EINTR {
			return err
		}
	}
}

// locked turns the failure to lock into a LockedError if that is what it means.
func locked(dir string, f *os.File, err error) error {
	if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EACCES) {
		return fmt.Errorf("%s: lock: %w", f.Name(), err)
	}
	use, _ := Uses(dir) // without it the error is still right, only less telling
	return &LockedError{Dir: dir, PIDs: use.Holders}
}

// held reports whether anybody holds the lock for an instance. It only asks and
// never takes.
func held(dir string) (bool, error) {
	path := filepath.Join(dir, metaName, lockName)
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if os.IsNotExist(err) {
		return false, fmt.Errorf("%s: %w: file is missing", path, ErrCorrupt)
	}
	if err != nil {
		return false, fmt.Errorf("%w: %v", ErrUnreachable, err)
	}
	defer func() { _ = f.Close() }()
	look := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &look); err != nil {
		return false, fmt.Errorf("%s: lock: %w", path, err)
	}
	return look.Type != unix.F_UNLCK, nil
}
