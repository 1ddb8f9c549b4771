package array

import (
	"context"
	"errors"
	"time"

	"relight/internal/array/iscsi"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// Errors of arrays, wrapped with the object's name. Any other error means that the
// effect is unknown; every call may be repeated.
var (
	// ErrFull: the array has no room for the LUN.
	ErrFull = errors.New("the array is full")
	// ErrConflict: it is there, and is another.
	ErrConflict = errors.New("exists and is different")
	// ErrNotFound: the LUN is not there.
	ErrNotFound = errors.New("not found")
	// ErrDuplicate: another map has the initiator's name. Two that share one cannot
	// be told apart, so that a fence of one would be a fence of both.
	ErrDuplicate = errors.New("the initiator's name is taken")
	// ErrShared: somebody else's map has the LUN: another server's, or one that is not
	// ours. Two that write to one disk destroy it, whatever their epochs are.
	ErrShared = errors.New("another map has the LUN")
	// ErrNoProof: no proof that the epoch before is dead.
	ErrNoProof = errors.New("no proof that the epoch before is dead")
	// ErrHeld: an older epoch still has a map or a session.
	ErrHeld = errors.New("an older epoch is not fenced on the array")
	// ErrFenced: the epoch was fenced, or a newer one has a map.
	ErrFenced = errors.New("the epoch was fenced and stays fenced")
	// ErrBusy: the map has sessions.
	ErrBusy = errors.New("the map still has sessions")
	// ErrInside: a command of the epoch is inside the array, or may be.
	ErrInside = errors.New("a command of the epoch is still inside")
	// ErrMapped: an epoch has a map of the LUN, and may write while it is copied.
	ErrMapped = errors.New("an epoch has a map of the LUN")
	// ErrInvalid: the request can never work.
	ErrInvalid = errors.New("invalid")
)

// Array is one SAN array. Implementations are safe for concurrent use, and every
// call can be repeated: what is so already is no error.
type Array interface {
	// Name names the array in evidence and errors.
	Name() string

	// Create makes a LUN with all of its room set aside. An array that hands out
	// more than it has would fail a guest's write later instead. Errors: ErrFull;
	// ErrConflict if it exists with another size.
	Create(ctx context.Context, l LUN) error

	// LUN says what is there of a LUN. Errors: ErrNotFound.
	LUN(ctx context.Context, name string) (LUN, error)

	// Map lets one epoch in, and says where. Errors: ErrNoProof, ErrFenced, ErrHeld,
	// ErrDuplicate, ErrShared, ErrNotFound (a LUN), ErrInvalid.
	Map(ctx context.Context, m Map, proof fence.Proof) (Target, error)

	// Unmap takes the epoch's initiator and credentials away, so that no login
	// begins any more. What is under way is not stopped by it.
	Unmap(ctx context.Context, r Ref) error

	// Sessions lists the sessions of the epoch, including those that were killed
	// and of which a command has not landed yet.
	Sessions(ctx context.Context, r Ref) ([]Session, error)

	// Kill ends a session. It returns before the session is gone.
	Kill(ctx context.Context, s Session) error

	// Close removes what is left of an epoch's map. After it a login that began
	// before Unmap cannot end in a session that writes. Errors: ErrBusy while a
	// session is there; the array itself must be the one that refuses.
	Close(ctx context.Context, r Ref) error

	// Offline takes an epoch's LUNs, of which luns are the names, away from whoever is
	// still logged in as it. It comes after Unmap. Once it has returned nil, no command
	// of the epoch is inside the array and none is served any more, whatever session
	// sends it. The Map of a later epoch undoes what would be in its way. Errors: ErrInside
	// while a command is inside; the array itself must be the one that says so.
	Offline(ctx context.Context, r Ref, luns []string) error

	// Maps lists what epochs of the server have on the array.
	Maps(ctx context.Context, server string) ([]Mapped, error)

	// Snapshot keeps a LUN's data as it is now under a name of SnapshotName, whole or
	// not at all, with room of its own. One that has the name already is returned as it
	// is. Errors: ErrMapped while any map has the LUN, or if it was written to
	// meanwhile; ErrConflict if one has the name and the LUN was written to since, on
	// arrays that can tell; ErrFull, ErrNotFound (the LUN), ErrInvalid.
	Snapshot(ctx context.Context, lun, name string) (Snapshot, error)

	// Snapshots lists those of a LUN, by name.
	Snapshots(ctx context.Context, lun string) ([]Snapshot, error)

	// RestoreSnapshot makes a LUN's data what they were when the snapshot was taken;
	// what is on it now is lost. Only a person asks for that. Errors: those of Snapshot;
	// ErrNotFound (the snapshot).
	RestoreSnapshot(ctx context.Context, lun, name string) error

	// DeleteSnapshot removes a snapshot and gives its room back. Only a person asks for
	// that. Errors: ErrMapped while somebody has made a map of what keeps it; ErrInvalid.
	DeleteSnapshot(ctx context.Context, lun, name string) error
}

// Snapshot is a LUN's data as they were once.
type Snapshot struct {
	LUN, Name string
	Bytes     int64
	At        time.Time
}

// LUN is a unit of storage. Its name is unique on its array.
type LUN struct {
	Name  string
	Bytes int64
}

// Ref names one epoch of one server.
type Ref struct {
	Server string
	Epoch  fleet.Epoch
}

// Map is what one epoch may use, and as whom.
type Map struct {
	Ref
	// Initiator is the IQN; see IQN.
	Initiator string
	// User and Secret are for CHAP, the epoch's own. Arrays that let in who has a
	// right name or a right address do not stop a stranger; a secret does.
	User, Secret string
	// Units are LUN names by unit number, 1 to 255.
	Units map[int]string
}

// Config is the map as a login at the target.
func (m Map) Config(t Target) iscsi.Config {
	return iscsi.Config{Portal: t.Portal, Target: t.IQN, Initiator: m.Initiator, User: m.User, Secret: m.Secret}
}

// Target is where an epoch logs in.
type Target struct {
	// Portal is address:port.
	Portal string
	IQN    string
}

// Session is a login as the array lists it.
type Session struct {
	Ref
	// ID is the array's own, and means something to its driver only.
	ID        string
	Initiator string
}

// Mapped is what an epoch has on the array.
type Mapped struct {
	Ref
	// Initiators may log in. None after Unmap, until Close removes the rest.
	Initiators []string
	// Offline: nobody may log in, no LUN is left, and what could not be closed are
	// sessions, which can do nothing. Only Offline leaves that behind.
	Offline bool
}
