package beats

import (
	"context"
	"fmt"
	"time"

	"relight/internal/array/iscsi"
)

// lunWithin bounds one command to the array: a session whose other end is gone is given up
// for a new one.
const lunWithin = 3 * time.Second

// lun is a unit of a target to which hosts log in for their heartbeats alone.
type lun struct {
	cfg  iscsi.Config
	unit int
}

func (l lun) open(ctx context.Context) (device, error) {
	ctx, cancel := context.WithTimeout(ctx, lunWithin)
	defer cancel()
	s, err := iscsi.Dial(ctx, l.cfg)
	if err != nil {
		return nil, err
	}
	bytes, err := iscsi.Capacity(ctx, s, l.unit)
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return &session{Session: s, unit: l.unit, bytes: bytes}, nil
}

// session is a device on a login.
type session struct {
	*iscsi.Session
	unit  int
	bytes int64
}

// Size implements device.
func (s *session) Size() (int64, error) { return s.bytes, nil }

// ReadAt implements device.
func (s *session) ReadAt(p []byte, at int64) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lunWithin)
	defer cancel()
	return iscsi.Unit{Ctx: ctx, Path: s, LUN: s.unit, Size: s.bytes}.ReadAt(p, at)
}

// WriteAt implements device, of whole blocks.
func (s *session) WriteAt(p []byte, at int64) (int, error) {
	if at%iscsi.Block != 0 || len(p)%iscsi.Block != 0 {
		return 0, fmt.Errorf("a write of %d bytes at %d is not of whole blocks", len(p), at)
	}
	ctx, cancel := context.WithTimeout(context.Background(), lunWithin)
	defer cancel()
	if _, err := iscsi.Do(ctx, s, "write", iscsi.Write16(s.unit, uint64(at)/iscsi.Block, p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
