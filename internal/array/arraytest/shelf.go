package arraytest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"relight/internal/array"
	"relight/internal/core/fence"
)

// Shelf is an array in memory with faults, for tests of those who use arrays. It has one
// list of maps and sessions, and no data. Its fields are changed through Set while it is
// in use.
type Shelf struct {
	// Label is its name; san-1 if empty.
	Label string
	// Made are the maps that were made, Closed those that were unmapped, and Live counts
	// the sessions.
	Made   map[array.Ref]array.Map
	Closed map[array.Ref]bool
	Live   map[array.Ref]int
	// Away fails every call; Stuck has sessions outlive their kill; Full has no room, and
	// with Others somebody else's map has the LUNs.
	Away                error
	Stuck, Full, Others bool
	// Inside has a command inside, so that no LUN goes off line; Dark are the epochs whose
	// LUNs did.
	Inside bool
	Dark   map[array.Ref]bool
	// Looks and Asked count the questions for maps and for snapshots.
	Looks, Asked int
	// Kept are the snapshots, "LUN name", each once, Restored those that were put back.
	Kept, Restored []string
	// LUNs are those that are there, by name, with their sizes in bytes.
	LUNs map[string]int64

	mu sync.Mutex
}

// NewShelf returns an empty array.
func NewShelf() *Shelf {
	return &Shelf{LUNs: map[string]int64{}, Made: map[array.Ref]array.Map{}, Closed: map[array.Ref]bool{}, Live: map[array.Ref]int{}, Dark: map[array.Ref]bool{}}
}

// take begins a call.
func (s *Shelf) take() (func(), error) {
	s.mu.Lock()
	return s.mu.Unlock, s.Away
}

// Name implements array.Array.
func (s *Shelf) Name() string { return cmp.Or(s.Label, "san-1") }

// Login adds a session of an epoch.
func (s *Shelf) Login(r array.Ref) { defer s.lock()(); s.Live[r]++ }

// Set changes the array.
func (s *Shelf) Set(change func()) { defer s.lock()(); change() }

func (s *Shelf) lock() func() { s.mu.Lock(); return s.mu.Unlock }

// Create implements array.Array.
func (s *Shelf) Create(_ context.Context, l array.LUN) error {
	give, err := s.take()
	defer give()
	switch {
	case err != nil:
		return err
	case s.Full:
		return array.ErrFull
	}
	s.LUNs[l.Name] = l.Bytes
	return nil
}

// LUN implements array.Array.
func (s *Shelf) LUN(_ context.Context, name string) (array.LUN, error) {
	give, err := s.take()
	defer give()
	if bytes, there := s.LUNs[name]; there || err != nil {
		return array.LUN{Name: name, Bytes: bytes}, err
	}
	return array.LUN{}, array.ErrNotFound
}

func (s *Shelf) listed(server string) []array.Mapped {
	var out []array.Mapped
	for r, m := range s.Made {
		if r.Server != server {
			continue
		}
		seen := array.Mapped{Ref: r}
		if !s.Closed[r] {
			seen.Initiators = []string{m.Initiator}
		}
		seen.Offline = s.Dark[r] && s.Closed[r] && s.Live[r] > 0
		out = append(out, seen)
	}
	return out
}

// Map implements array.Array.
func (s *Shelf) Map(_ context.Context, m array.Map, proof fence.Proof) (array.Target, error) {
	give, err := s.take()
	defer give()
	if err != nil {
		return array.Target{}, err
	}
	if err := array.Check(m, proof, s.listed(m.Server)); err != nil {
		return array.Target{}, err
	}
	if s.Others {
		return array.Target{}, array.ErrShared
	}
	s.Made[m.Ref] = m
	return array.Target{Portal: "192.0.2.1:3260", IQN: "iqn.target." + m.User}, nil
}

// Unmap implements array.Array.
func (s *Shelf) Unmap(_ context.Context, r array.Ref) error {
	give, err := s.take()
	defer give()
	s.Closed[r] = err == nil
	return err
}

// Offline implements array.Array.
func (s *Shelf) Offline(_ context.Context, r array.Ref, luns []string) error {
	give, err := s.take()
	defer give()
	switch {
	case err != nil:
		return err
	case s.Inside || len(luns) == 0:
		return array.ErrInside
	}
	s.Dark[r] = true
	return nil
}

// Sessions implements array.Array.
func (s *Shelf) Sessions(_ context.Context, r array.Ref) ([]array.Session, error) {
	give, err := s.take()
	defer give()
	var out []array.Session
	for range s.Live[r] {
		out = append(out, array.Session{Ref: r, ID: "1"})
	}
	return out, err
}

// Kill implements array.Array.
func (s *Shelf) Kill(_ context.Context, x array.Session) error {
	give, err := s.take()
	defer give()
	if !s.Stuck {
		delete(s.Live, x.Ref)
	}
	return err
}

// Close implements array.Array.
func (s *Shelf) Close(_ context.Context, r array.Ref) error {
	give, err := s.take()
	defer give()
	switch {
	case err != nil:
		return err
	case s.Live[r] > 0:
		return array.ErrBusy
	}
	delete(s.Made, r)
	return nil
}

// Maps implements array.Array.
func (s *Shelf) Maps(_ context.Context, server string) ([]array.Mapped, error) {
	give, err := s.take()
	defer give()
	s.Looks++
	return s.listed(server), err
}

// Snapshot implements array.Array.
func (s *Shelf) Snapshot(_ context.Context, lun, name string) (array.Snapshot, error) {
	give, err := s.take()
	defer give()
	kept := array.Snapshot{LUN: lun, Name: name}
	switch {
	case err != nil || slices.Contains(s.Kept, lun+" "+name):
		return kept, err
	case len(s.Made) > 0:
		return array.Snapshot{}, array.ErrMapped
	case s.Full:
		return array.Snapshot{}, array.ErrFull
	}
	s.Kept = append(s.Kept, lun+" "+name)
	return kept, nil
}

// Snapshots implements array.Array.
func (s *Shelf) Snapshots(_ context.Context, lun string) ([]array.Snapshot, error) {
	give, err := s.take()
	defer give()
	s.Asked++
	var out []array.Snapshot
	for _, k := range s.Kept {
		if of, name, _ := strings.Cut(k, " "); of == lun {
			out = append(out, array.Snapshot{LUN: lun, Name: name})
		}
	}
	return out, err
}

// RestoreSnapshot implements array.Array.
func (s *Shelf) RestoreSnapshot(_ context.Context, lun, name string) error {
	give, err := s.take()
	defer give()
	switch {
	case err != nil:
		return err
	case !slices.Contains(s.Kept, lun+" "+name):
		return array.ErrNotFound
	case len(s.Made) > 0:
		return array.ErrMapped
	}
	s.Restored = append(s.Restored, lun+" "+name)
	return nil
}

// DeleteSnapshot implements array.Array.
func (s *Shelf) DeleteSnapshot(_ context.Context, lun, name string) error {
	give, err := s.take()
	defer give()
	s.Kept = slices.DeleteFunc(s.Kept, func(k string) bool { return k == lun+" "+name })
	return err
}

// LocatedShelf is a Shelf that says where epochs log in: at a port where nobody listens.
type LocatedShelf struct{ *Shelf }

// Locate implements array.Locator.
func (s LocatedShelf) Locate(_ context.Context, r array.Ref) (array.Target, error) {
	give, err := s.take()
	defer give()
	return array.Target{Portal: "127.0.0.1:1", IQN: fmt.Sprintf("iqn.target.%s.e%d", r.Server, r.Epoch)}, err
}
