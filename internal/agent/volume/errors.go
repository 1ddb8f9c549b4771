package volume

import (
	"errors"
	"fmt"

	"relight/internal/core/fleet"
)

// What can be wrong with a volume. Nothing was changed when one of them is
// returned.
var (
	// ErrLocked: somebody holds the volume's lock; see [LockedError].
	ErrLocked = errors.New("volume is locked")
	// ErrInUse: the lock is free, but a process has files open for writing.
	ErrInUse = errors.New("volume is in use")
	// ErrSealed: the epoch may never write to this volume again.
	ErrSealed = errors.New("epoch is sealed")
	// ErrOldEpoch: a later epoch has already written to this volume.
	ErrOldEpoch = errors.New("epoch is older than the volume's")
	// ErrOtherServer: the volume belongs to another server.
	ErrOtherServer = errors.New("volume belongs to another server")
	// ErrCorrupt: the epoch file or the lock is damaged. It needs a person; it
	// is never treated as absent.
	ErrCorrupt = errors.New("volume record is corrupt")
	// ErrUnreachable: the directory is missing or cannot be read.
	ErrUnreachable = errors.New("volume is unreachable")
	// ErrNoRecord: the directory holds no record of any server, and epochs that wrote to
	// the volume left one; see [NoRecordError].
	ErrNoRecord = errors.New("volume has no record")
	// ErrUnfit: the file system keeps no lock that ends exactly with its last
	// holder.
	ErrUnfit = errors.New("file system is unfit for a volume lock")
)

// NoRecordError tells of a directory that cannot be the server's volume: ErrNoRecord.
type NoRecordError struct {
	Dir, Server string
	Epoch       fleet.Epoch
}

// Error implements error.
func (e *NoRecordError) Error() string {
	return fmt.Sprintf("%s: %v of %s, which was started with this volume before: its disk is not mounted there, or it is another one. Epoch %d does not begin empty. Mount the disk; or, if its data is there or is to be given up, type on this host: relight agent mark-volume %s --server %s",
		e.Dir, ErrNoRecord, e.Server, e.Epoch, e.Dir, e.Server)
}

// Unwrap makes errors.Is(err, ErrNoRecord) true.
func (e *NoRecordError) Unwrap() error { return ErrNoRecord }

// LockedError tells who holds a volume: ErrLocked with the processes that could
// be found. PIDs may be empty, if they run out of this process's sight.
type LockedError struct {
	Dir  string
	PIDs []int
}

// Error implements error.
func (e *LockedError) Error() string {
	if len(e.PIDs) == 0 {
		return fmt.Sprintf("%s: %v", e.Dir, ErrLocked)
	}
	return fmt.Sprintf("%s: %v by pids %v", e.Dir, ErrLocked, e.PIDs)
}

// Unwrap makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Unwrap() error { return ErrLocked }
