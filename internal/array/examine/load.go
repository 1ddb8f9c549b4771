package examine

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"relight/internal/array/iscsi"
	"relight/internal/core/fleet"
)

// oldEpoch is the epoch that is shut out, with all that it has under way.
type oldEpoch struct {
	epoch fleet.Epoch
	load  *load
	held  *iscsi.Held
	half  *iscsi.Login
	// end ends it, as often as it is called.
	end func()
}

// busy brings the epoch to where it is shut out: sessions that write without pause, a
// write that the array has taken and whose data it has not, and a login that has
// passed name and secret.
func (x *examination) busy(ctx context.Context, cfg iscsi.Config, e fleet.Epoch) (_ *oldEpoch, err error) {
	o := &oldEpoch{epoch: e}
	starting, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	s, err := iscsi.Dial(starting, cfg)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	// The first command of a session is answered with a unit attention.
	if _, err = iscsi.Do(starting, s, "first read", iscsi.Read16(unit, held, 1)); err != nil {
		return nil, err
	}
	if o.held, err = s.Hold(starting, iscsi.Write16(unit, held, pattern(e, 0, 0, iscsi.Block))); err != nil {
		return nil, err
	}
	o.load = startLoad(ctx, cfg, e, x)
	o.end = sync.OnceFunc(func() {
		o.load.end()
		if o.half != nil {
			_ = o.half.Close()
		}
		_ = s.Close()
	})
	for o.load.acked.Load() < uint64(4*x.Load) {
		if err := x.Wait(starting, x.Now().Add(fenceEvery)); err != nil {
			o.end()
			return nil, errors.Join(err, o.load.failure())
		}
	}
	// Last, for there are targets that take one login after the other.
	if o.half, err = halfWay(starting, cfg); err != nil {
		o.end()
		return nil, err
	}
	return o, nil
}

// halfWay begins a login and stops before it becomes a session.
func halfWay(ctx context.Context, cfg iscsi.Config) (*iscsi.Login, error) {
	l, err := iscsi.Begin(ctx, cfg)
	if err != nil {
		return nil, err
	}
	for !l.Secure() {
		if _, err := l.Step(ctx); err != nil {
			_ = l.Close()
			return nil, err
		}
	}
	return l, nil
}

// load is many sessions that write, and log in again when they are thrown out.
type load struct {
	// over: the fence has been confirmed. What is sent after that must not succeed.
	over                 atomic.Bool
	acked, failed, stale atomic.Uint64
	last                 atomic.Pointer[error]
	stop                 context.CancelFunc
	writers              sync.WaitGroup
}

func startLoad(ctx context.Context, cfg iscsi.Config, e fleet.Epoch, x *examination) *load {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{stop: cancel}
	for i := range x.Load {
		l.writers.Go(func() { l.write(ctx, cfg, e, i, x) })
	}
	return l
}

func (l *load) end() { l.stop(); l.writers.Wait() }

func (l *load) failure() error {
	if err := l.last.Load(); err != nil {
		return *err
	}
	return nil
}

// write is one session: every n-th slot, over and over.
func (l *load) write(ctx context.Context, cfg iscsi.Config, e fleet.Epoch, i int, x *examination) {
	var s *iscsi.Session
	defer func() {
		if s != nil {
			_ = s.Close()
		}
	}()
	for n := 0; ctx.Err() == nil; {
		over := l.over.Load()
		var err error
		if s == nil {
			s, err = dialWithin(ctx, cfg)
		}
		if err == nil {
			place := (i + n*x.Load) % slots
			_, err = iscsi.Do(ctx, s, "write", iscsi.Write16(unit, uint64(from+place*slot)/iscsi.Block, pattern(e, i+1, n, slot)))
		}
		if err == nil {
			if over {
				l.stale.Add(1)
			}
			l.acked.Add(1)
			n++
			continue
		}
		if ctx.Err() != nil {
			return
		}
		l.last.Store(&err)
		l.failed.Add(1)
		if s != nil {
			_ = s.Close()
			s = nil
		}
		_ = x.Wait(ctx, x.Now().Add(fenceEvery)) // no tighter a loop than a guest's
	}
}

// dialWithin gives a login up that is not answered: an array that hangs must not look
// like one that refuses.
func dialWithin(ctx context.Context, cfg iscsi.Config) (*iscsi.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return iscsi.Dial(ctx, cfg)
}

// pattern is what a writer writes: each block says who wrote it.
func pattern(e fleet.Epoch, writer, n, size int) []byte {
	out := make([]byte, size)
	for at := 0; at < size; at += iscsi.Block {
		copy(out[at:], "RELIGHT PROBE")
		binary.BigEndian.PutUint64(out[at+16:], uint64(e))
		binary.BigEndian.PutUint64(out[at+24:], uint64(writer))
		binary.BigEndian.PutUint64(out[at+32:], uint64(n))
		binary.BigEndian.PutUint64(out[at+40:], uint64(at))
	}
	return out
}
