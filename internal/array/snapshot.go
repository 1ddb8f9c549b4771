package array

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// SnapshotFile keeps a LUN's file under another name, for arrays that keep LUNs in
// files. mapped returns the error of the array while a map has the LUN; it is asked
// before and after, because another controller may let an epoch in meanwhile. Errors
// are those of Array.Snapshot.
func SnapshotFile(ctx context.Context, dir, lun, name string, mapped func() error) (Snapshot, error) {
	kept, err := SnapshotLUN(lun, name)
	if err != nil {
		return Snapshot{}, err
	}
	wrap := func(err error) error { return fmt.Errorf("snapshot %s of LUN %s: %w", name, lun, err) }
	if s, err := snapshotOf(dir, lun, name); !errors.Is(err, ErrNotFound) {
		if err == nil {
			err = stillOf(s, dir)
		}
		return s, err
	}
	// Those of controllers that died while they copied: each is as large as the LUN.
	left, err := filepath.Glob(FilePath(dir, kept) + newSuffix + "*")
	if err != nil {
		return Snapshot{}, wrap(err)
	}
	for _, path := range left {
		_ = os.Remove(path)
	}
	err = copyFile(ctx, FilePath(dir, lun), FilePath(dir, kept), mapped, func(from, to string) error {
		// Link, not rename: it never replaces what another made meanwhile.
		if err := os.Link(from, to); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	})
	if err != nil {
		return Snapshot{}, wrap(err)
	}
	return snapshotOf(dir, lun, name)
}

// SnapshotFiles lists the snapshots of a LUN's file.
func SnapshotFiles(dir, lun string) ([]Snapshot, error) {
	prefix, err := SnapshotPrefix(lun)
	if err != nil {
		return nil, err
	}
	if err := CheckFile(dir, lun); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("snapshots of LUN %s: %w", lun, err)
	}
	var out []Snapshot
	for _, e := range entries {
		name, whole := strings.CutSuffix(e.Name(), ".img")
		if !whole || !strings.HasPrefix(name, prefix) {
			continue
		}
		s, err := snapshotOf(dir, lun, strings.TrimPrefix(name, lun+"."))
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Snapshot) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// RestoreFile puts a snapshot in the place of a LUN's file; see SnapshotFile.
func RestoreFile(ctx context.Context, dir, lun, name string, mapped func() error) error {
	kept, err := SnapshotLUN(lun, name)
	if err != nil {
		return err
	}
	for _, file := range []string{lun, kept} {
		if err := CheckFile(dir, file); err != nil {
			return fmt.Errorf("restore %s: %w", name, err)
		}
	}
	if err := copyFile(ctx, FilePath(dir, kept), FilePath(dir, lun), mapped, os.Rename); err != nil {
		return fmt.Errorf("restore %s to LUN %s: %w", name, lun, err)
	}
	return nil
}

// DeleteFile removes a snapshot's file; mapped returns the error of the array while a
// map has that file. One that is not there is removed already.
func DeleteFile(dir, lun, name string, mapped func(kept string) error) error {
	kept, err := SnapshotLUN(lun, name)
	if err != nil {
		return err
	}
	if err = mapped(kept); err == nil {
		err = os.Remove(FilePath(dir, kept))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("delete snapshot %s of LUN %s: %w", name, lun, err)
	}
	return nil
}

// stillOf refuses a snapshot of an earlier life of its name: nobody has written to the
// LUN since the one that was asked for.
func stillOf(s Snapshot, dir string) error {
	info, err := os.Stat(FilePath(dir, s.LUN))
	if err == nil && info.ModTime().After(s.At) {
		err = ErrConflict
	}
	if err != nil {
		return fmt.Errorf("snapshot %s of LUN %s, taken %s: %w", s.Name, s.LUN, s.At.UTC().Format(time.RFC3339), err)
	}
	return nil
}

func snapshotOf(dir, lun, name string) (Snapshot, error) {
	kept, err := SnapshotLUN(lun, name)
	if err != nil {
		return Snapshot{}, err
	}
	info, err := os.Stat(FilePath(dir, kept))
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotFound
	}
	if err != nil {
		return Snapshot{}, fmt.Errorf("snapshot %s of LUN %s: %w", name, lun, err)
	}
	return Snapshot{LUN: lun, Name: name, Bytes: info.Size(), At: info.ModTime()}, nil
}

// newSuffix marks a file that is not whole yet.
const newSuffix = ".new-"

// copyFile makes a copy under another name until it is whole and on the disk, and
// then has place give it its own.
func copyFile(ctx context.Context, from, to string, mapped func() error, place func(from, to string) error) error {
	if err := mapped(); err != nil {
		return err
	}
	src, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotFound
	}
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	was, err := src.Stat()
	if err != nil {
		return err
	}
	if err := room(filepath.Dir(to), was.Size()); err != nil {
		return err
	}
	dst, err := os.CreateTemp(filepath.Dir(to), filepath.Base(to)+newSuffix)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(dst.Name()) }()
	defer func() { _ = dst.Close() }()
	for _, step := range []func() error{
		func() error { return dst.Chmod(was.Mode().Perm()) },
		func() error { return fill(ctx, dst, src, was.Size()) },
		dst.Sync,
		mapped,
		func() error { return unchanged(src, was) },
		func() error { return place(dst.Name(), to) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return syncDir(filepath.Dir(to))
}

// room refuses what does not fit, also where the file system shares the blocks of
// both: the LUN needs its own again as soon as it is written to.
func room(dir string, bytes int64) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return err
	}
	if free := int64(st.Bavail) * st.Bsize; free < bytes {
		return fmt.Errorf("%d bytes are free in %s, %d are needed: %w", free, dir, bytes, ErrFull)
	}
	return nil
}

// copyStep is how much is copied between two looks at the context, in bytes.
const copyStep = 16 << 20

// ficlone is the ioctl that makes a file share all blocks of another one.
const ficlone = 0x40049409

// fill makes dst the same as src: by a clone where the file system can, or by a copy
// with all of its room set aside first.
func fill(ctx context.Context, dst, src *os.File, size int64) error {
	if _, _, refused := syscall.Syscall(syscall.SYS_IOCTL, dst.Fd(), ficlone, src.Fd()); refused == 0 {
		return nil
	}
	if err := syscall.Fallocate(int(dst.Fd()), 0, 0, size); err != nil {
		return noRoom(err)
	}
	for done := int64(0); done < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.CopyN(dst, src, min(copyStep, size-done))
		if done += n; err != nil {
			return noRoom(err)
		}
	}
	return nil
}

func noRoom(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EFBIG) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w (%w)", ErrFull, err)
	}
	return err
}

// unchanged refuses a copy of what was written to meanwhile: it is of no one moment.
func unchanged(src *os.File, was fs.FileInfo) error {
	is, err := src.Stat()
	if err == nil && (is.Size() != was.Size() || !is.ModTime().Equal(was.ModTime())) {
		err = fmt.Errorf("it was written to while it was copied: %w", ErrMapped)
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
