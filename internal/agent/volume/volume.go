package volume

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"relight/internal/core/fleet"
)

// Held is a volume whose lock this process holds for one epoch. The lock is
// shared with every process that inherits File, and free when the last of them
// is gone and Close was called.
type Held struct {
	dir  string
	file *os.File
}

// Acquire takes the volume's lock for (server, epoch), without waiting, and
// raises the epoch file to epoch. The same epoch may acquire again as long as it
// is not sealed. With fresh the directory may have no record yet; else it is not the
// volume. Errors: ErrLocked, ErrSealed, ErrOldEpoch, ErrOtherServer, ErrNoRecord,
// ErrCorrupt, ErrUnreachable, ErrUnfit.
func Acquire(dir, server string, epoch fleet.Epoch, fresh bool) (*Held, error) {
	if !fresh {
		// A record is never taken away again, so that it is still there below.
		if st, err := Inspect(dir); err != nil {
			return nil, err
		} else if st.Server == "" {
			return nil, &NoRecordError{Dir: dir, Server: server, Epoch: epoch}
		}
	}
	f, r, _, err := open(dir, server, epoch)
	if err != nil {
		return nil, err
	}
	if err := admit(filepath.Join(dir, metaName), r, epoch); err != nil {
		release(f)
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if err := mark(dir, f); err != nil {
		release(f)
		return nil, err
	}
	return &Held{dir: dir, file: f}, nil
}

func admit(meta string, r record, epoch fleet.Epoch) error {
	if epoch <= r.SealedBelow {
		return fmt.Errorf("epoch %d: %w up to %d", epoch, ErrSealed, r.SealedBelow)
	}
	if epoch < r.Epoch {
		return fmt.Errorf("epoch %d: %w, %d", epoch, ErrOldEpoch, r.Epoch)
	}
	if epoch == r.Epoch {
		return nil
	}
	r.Epoch = epoch
	return writeRecord(meta, r)
}

// open takes the lock of (server, epoch)'s volume and reads its record.
func open(dir, server string, epoch fleet.Epoch) (*os.File, record, bool, error) {
	if server == "" || epoch == 0 {
		return nil, record{}, false, fmt.Errorf("%s: server %q epoch %d: epochs start at 1", dir, server, epoch)
	}
	if err := check(dir); err != nil {
		return nil, record{}, false, err
	}
	fresh, err := prepare(dir, server)
	if err != nil {
		return nil, record{}, false, err
	}
	f, err := take(dir)
	if err != nil {
		return nil, record{}, false, err
	}
	r, err := readRecord(filepath.Join(dir, metaName))
	if err == nil && r.Server != server {
		err = fmt.Errorf("%s: %w, %s", dir, ErrOtherServer, r.Server)
	}
	if err != nil {
		release(f)
		return nil, record{}, false, err
	}
	return f, r, fresh, nil
}

// Mark puts the server's record into a directory that has none, so that a later epoch than
// the first may begin there: a person says so. It returns false if the record was there.
// Errors: ErrOtherServer, ErrCorrupt, ErrUnreachable, ErrUnfit, ErrLocked.
func Mark(dir, server string) (bool, error) {
	if err := check(dir); err != nil {
		return false, err
	}
	made, err := prepare(dir, server)
	if err != nil {
		return false, err
	}
	r, err := readRecord(filepath.Join(dir, metaName))
	if err == nil && r.Server != server {
		err = fmt.Errorf("%s: %w, %s", dir, ErrOtherServer, r.Server)
	}
	return made, err
}

// Dir returns the volume's directory.
func (h *Held) Dir() string { return h.dir }

// File returns the descriptor that carries the lock, to be inherited by the
// application. It stays owned by h.
func (h *Held) File() *os.File { return h.file }

// Close gives up this process's share of the lock. It never unlocks: that would
// take the lock from the application, too.
func (h *Held) Close() error { return h.file.Close() }

// Sealed is what Seal has read back.
type Sealed struct {
	// Epoch and all below it are sealed; it may be higher than was asked for.
	Epoch fleet.Epoch `json:"epoch"`
	// Found is the highest epoch that was ever allowed to write, 0 if none was.
	Found fleet.Epoch `json:"found"`
	// At is when the seal was first put there.
	At time.Time `json:"at"`
	// ReadBack is true if the epoch file was read again after it was synced.
	ReadBack bool `json:"readBack"`
	// Fresh is true if no instance was ever here, and nothing was written. If one is known
	// to have been, this is not its volume, maybe an empty mount point.
	Fresh bool `json:"fresh"`
}

// Seal shows that no process of epoch, or of an earlier one, can write to the
// volume, now or later: it takes the lock without waiting, raises the sealed
// epoch, syncs, reads it back and lets go. It may be repeated, and never lowers
// a seal. Where no instance ever was it writes nothing: that may be an empty mount point,
// and what stood there would later be read for the seal of the volume. Errors: ErrLocked
// (as LockedError) and ErrInUse while somebody may still write, and those of Acquire.
func Seal(dir, server string, epoch fleet.Epoch) (Sealed, error) {
	st, err := Inspect(dir)
	if err != nil {
		return Sealed{}, err
	}
	if st.Server == "" && epoch > 0 {
		return Sealed{Fresh: true}, check(dir)
	}
	if s, ok, err := alreadySealed(dir, server, epoch, st); err != nil || ok {
		return s, err
	}
	f, r, fresh, err := open(dir, server, epoch)
	if err != nil {
		return Sealed{}, err
	}
	defer release(f)
	if epoch > r.SealedBelow && !fresh && r.Epoch > 0 {
		use, err := Uses(dir)
		if err != nil {
			return Sealed{}, err
		}
		if len(use.Writers) > 0 {
			return Sealed{}, fmt.Errorf("%s: %w by pids %v", dir, ErrInUse, use.Writers)
		}
		r.SealedBelow, r.SealedAt = epoch, time.Now().UTC().Round(0)
		if err := writeRecord(filepath.Join(dir, metaName), r); err != nil {
			return Sealed{}, fmt.Errorf("seal %s: %w", dir, err)
		}
	}
	return sealed(r, fresh), nil
}

func sealed(r record, fresh bool) Sealed {
	return Sealed{
		Epoch: r.SealedBelow, Found: r.Epoch, At: r.SealedAt,
		ReadBack: true, Fresh: fresh || r.Epoch == 0,
	}
}

// alreadySealed answers a repeated Seal without the lock, which a later epoch may
// hold by now. A seal is only ever written under the lock, so reading it is
// enough, once it is certain to survive a power loss.
func alreadySealed(dir, server string, epoch fleet.Epoch, st State) (Sealed, bool, error) {
	if epoch == 0 || st.Server != server || epoch > st.Sealed {
		return Sealed{}, false, nil
	}
	meta := filepath.Join(dir, metaName)
	f, err := os.Open(filepath.Join(meta, epochName))
	if err != nil {
		return Sealed{}, false, fmt.Errorf("%w: %v", ErrUnreachable, err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Sync(); err != nil {
		return Sealed{}, false, fmt.Errorf("seal %s: %w", dir, err)
	}
	if err := syncDir(meta); err != nil {
		return Sealed{}, false, fmt.Errorf("seal %s: %w", dir, err)
	}
	r, err := readRecord(meta)
	if err != nil {
		return Sealed{}, false, err
	}
	return sealed(r, false), r.SealedBelow >= epoch, nil
}

// State is a volume as Inspect saw it.
type State struct {
	// Server owns the volume; empty for a fresh one.
	Server string `json:"server"`
	// Epoch is the highest epoch that was ever allowed to write.
	Epoch fleet.Epoch `json:"epoch"`
	// Sealed: this epoch and all below it are sealed.
	Sealed fleet.Epoch `json:"sealed"`
	// Locked is true if some process holds the lock for an instance.
	Locked bool `json:"locked"`
}

// Inspect reads the volume's record and asks whether it is locked. It changes
// nothing and takes no lock, so that it never makes Acquire or Seal fail.
// Errors: ErrCorrupt, ErrUnreachable.
func Inspect(dir string) (State, error) {
	st, err := os.Stat(dir)
	if err != nil {
		return State{}, fmt.Errorf("%w: %v", ErrUnreachable, err)
	}
	if !st.IsDir() {
		return State{}, fmt.Errorf("%s: %w: not a directory", dir, ErrUnreachable)
	}
	meta := filepath.Join(dir, metaName)
	if _, err := os.Lstat(meta); os.IsNotExist(err) {
		return State{}, nil
	}
	r, err := readRecord(meta)
	if err != nil {
		return State{}, err
	}
	lock, err := held(dir)
	if err != nil {
		return State{}, err
	}
	return State{Server: r.Server, Epoch: r.Epoch, Sealed: r.SealedBelow, Locked: lock}, nil
}
