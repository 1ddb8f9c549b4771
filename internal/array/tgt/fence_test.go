package tgt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relight/internal/array"
	"relight/internal/array/iscsi"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

const (
	lunSize = 4 << 20
	blocks  = lunSize / iscsi.Block
	rounds  = 20
)

// lab is one LUN on a private tgtd, and what happened to it.
type lab struct {
	*testing.T
	ctx   context.Context
	d     daemon
	a     *Array
	file  string
	marks fleet.Epoch
}

func newLab(t *testing.T) *lab {
	d := startDaemon(t)
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	l := &lab{T: t, ctx: ctx, d: d, a: d.array(dir), file: filepath.Join(dir, "data.img")}
	l.must("create", l.a.Create(ctx, array.LUN{Name: "data", Bytes: lunSize}))
	return l
}

func (l *lab) must(what string, err error) {
	l.Helper()
	if err != nil {
		l.Fatalf("%s: %v", what, err)
	}
}

func (l *lab) mapOf(e fleet.Epoch) array.Map {
	m, err := array.NewMap(prefix, array.Ref{Server: "db", Epoch: e}, map[int]string{10: "data"}, strings.NewReader(fmt.Sprintf("%016d", e)))
	l.must("new map", err)
	return m
}

func (l *lab) start(e fleet.Epoch) iscsi.Config {
	l.Helper()
	m := l.mapOf(e)
	t, err := l.a.Map(l.ctx, m, l.proof(e))
	l.must(fmt.Sprintf("map epoch %d", e), err)
	return m.Config(t)
}

// proof lets an epoch start.
func (l *lab) proof(e fleet.Epoch) fence.Proof {
	evidence := []fleet.Evidence{{Method: fleet.Attested, Server: "db", Epoch: e - 1, At: time.Unix(1, 0)}}
	p, _ := fence.Prove(fleet.Server{Name: "db"}, e-1, "", evidence, time.Unix(1, 0))
	return p
}

// record is a block that says which epoch wrote it, and as which number.
func record(e fleet.Epoch, n uint64) []byte {
	b := make([]byte, iscsi.Block)
	copy(b, "RECORD")
	binary.BigEndian.PutUint64(b[8:], uint64(e))
	binary.BigEndian.PutUint64(b[16:], n)
	binary.BigEndian.PutUint32(b[24:], crc32.ChecksumIEEE(b[:24]))
	return b
}

// onDisk reads a record from the file behind the LUN: the truth.
func (l *lab) onDisk(n uint64) (e fleet.Epoch, whole bool) {
	l.Helper()
	f, err := os.Open(l.file)
	l.must("open", err)
	defer f.Close()
	b := make([]byte, iscsi.Block)
	_, err = f.ReadAt(b, int64(n%blocks)*iscsi.Block)
	l.must("read", err)
	whole = binary.BigEndian.Uint32(b[24:]) == crc32.ChecksumIEEE(b[:24]) && binary.BigEndian.Uint64(b[16:]) == n
	return fleet.Epoch(binary.BigEndian.Uint64(b[8:])), whole
}

// writer is a guest that writes record after record without pause, over and over
// through a ring of blocks, and logs in again whenever it is thrown out.
type writer struct {
	acked, failed atomic.Uint64 // last number that was acknowledged; failures
	stop          context.CancelFunc
	done          chan struct{}
}

func (l *lab) writer(cfg iscsi.Config, e fleet.Epoch, from uint64) *writer {
	ctx, cancel := context.WithCancel(l.ctx)
	w := &writer{stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		var s *iscsi.Session
		for n := from; ctx.Err() == nil; {
			var err error
			if s == nil {
				if s, err = iscsi.Dial(ctx, cfg); err != nil {
					w.failed.Add(1)
					s = nil
					_ = array.WaitBy(time.Now)(ctx, time.Now().Add(time.Millisecond)) // no tighter loop than a guest's
					continue
				}
			}
			cmd := iscsi.Write16(10, n%blocks, record(e, n))
			if n%2 == 1 {
				cmd = iscsi.Write10(10, n%blocks, record(e, n))
			}
			if _, err = iscsi.Do(ctx, s, "write", cmd); err != nil {
				w.failed.Add(1)
				_ = s.Close()
				s = nil
				continue // the same record again, as a guest does
			}
			w.acked.Store(n)
			n++
		}
		if s != nil {
			_ = s.Close()
		}
	}()
	return w
}

func (w *writer) end() { w.stop(); <-w.done }

func (l *lab) until(what string, yes func() bool) {
	l.Helper()
	for !yes() {
		if err := array.WaitBy(time.Now)(l.ctx, time.Now().Add(time.Millisecond)); err != nil {
			l.Fatalf("never: %s", what)
		}
	}
}

func (l *lab) fence(a array.Array, e fleet.Epoch, cfg iscsi.Config) ([]fleet.Evidence, error) {
	l.marks = e
	return array.Run(l.ctx, array.Env{
		Array: a, Now: time.Now, Wait: array.WaitBy(time.Now),
		Marks: func(context.Context, string) (fleet.Epoch, error) { return l.marks, nil },
		Login: array.TryLogin(array.Target{Portal: cfg.Portal, IQN: cfg.Target}, array.Map{Initiator: cfg.Initiator, User: cfg.User, Secret: cfg.Secret}),
	}, array.Plan{Ref: array.Ref{Server: "db", Epoch: e}, Volumes: []string{"data"}, Every: time.Millisecond, Within: 30 * time.Second})
}

// TestFenceUnderLoad: epoch after epoch is fenced while it writes; nothing that was
// acknowledged is lost, and nothing lands after the fence.
func TestFenceUnderLoad(t *testing.T) {
	l := newLab(t)
	var (
		from    uint64 = 1
		zombies []*writer
		stale   int
	)
	cfg := l.start(1)
	for e := fleet.Epoch(1); e <= rounds; e++ {
		w := l.writer(cfg, e, from)
		l.until("40 records", func() bool { return w.acked.Load() >= from+40 })
		evidence, err := l.fence(l.a, e, cfg)
		l.must("fence", err)
		if !strings.Contains(evidence[0].Detail, "login refused") {
			t.Errorf("evidence %+v", evidence[0])
		}
		if users, err := l.a.users(l.ctx); err != nil || len(users) > 0 {
			t.Errorf("round %d: accounts %v are left behind, %v", e, users, err)
		}
		last := w.acked.Load()
		zombies = append(zombies, w)
		// A record that landed and was not acknowledged before the fence is no loss
		// and no stale write: it is there before the next epoch looks.
		end := last
		if old, whole := l.onDisk(last + 1); whole && old == e {
			end = last + 1
		}
		for n := from; n <= last; n++ {
			if on, whole := l.onDisk(n); !whole || on != e {
				t.Fatalf("round %d: record %d was acknowledged and is lost (epoch %d, whole %v)", e, n, on, whole)
			}
		}
		failed := w.failed.Load()
		next := l.start(e + 1)
		l.until("the old epoch tried again", func() bool { return w.failed.Load() > failed+2 })
		// The next epoch writes over the very record at which the old one waits.
		v := l.writer(next, e+1, last+1)
		l.until("the next epoch wrote", func() bool { return v.acked.Load() >= last+5 })
		v.end()
		for n := last + 1; n <= v.acked.Load(); n++ {
			if on, whole := l.onDisk(n); !whole || on != e+1 {
				stale++
				t.Errorf("round %d: record %d is of epoch %d (whole %v)", e, n, on, whole)
			}
		}
		// The writer may only now have read an answer that lay in its socket since
		// before the fence; then its record was there before it.
		if got := w.acked.Load(); got > end {
			t.Errorf("round %d: the fenced epoch was acknowledged %d records", e, got-end)
		}
		from, cfg = max(v.acked.Load(), end)+1, next
	}
	for _, w := range zombies {
		w.end()
	}
	t.Logf("%d rounds, %d records, %d stale", rounds, from-1, stale)
}

// without is an array that says yes and does nothing at one step.
type without struct {
	array.Array
	step string
}

func (a without) Unmap(ctx context.Context, r array.Ref) error {
	if a.step == "unmap" {
		return nil
	}
	return a.Array.Unmap(ctx, r)
}

func (a without) Sessions(ctx context.Context, r array.Ref) ([]array.Session, error) {
	if a.step == "sessions" {
		return nil, nil
	}
	return a.Array.Sessions(ctx, r)
}

func (a without) Kill(ctx context.Context, s array.Session) error {
	if a.step == "kill" {
		return nil
	}
	return a.Array.Kill(ctx, s)
}

// TestStepLeftOut: each step that is left out lets the old epoch write on, which
// the order of the steps must then notice by the next source.
func TestStepLeftOut(t *testing.T) {
	for _, step := range []string{"unmap", "sessions", "kill"} {
		t.Run(step, func(t *testing.T) {
			l := newLab(t)
			cfg := l.start(1)
			w := l.writer(cfg, 1, 1)
			defer w.end()
			l.until("records", func() bool { return w.acked.Load() > 5 })
			l.marks = 1
			broken := without{l.a, step}
			plan := array.Plan{Ref: array.Ref{Server: "db", Epoch: 1}, Volumes: []string{"data"}, Every: time.Millisecond, Within: 300 * time.Millisecond}
			evidence, err := array.Run(l.ctx, array.Env{
				Array: broken, Now: time.Now, Wait: array.WaitBy(time.Now),
				Marks: func(context.Context, string) (fleet.Epoch, error) { return 1, nil },
				Login: array.TryLogin(array.Target{Portal: cfg.Portal, IQN: cfg.Target}, array.Map{Initiator: cfg.Initiator, User: cfg.User, Secret: cfg.Secret}),
			}, plan)
			if err == nil {
				t.Fatalf("a fence without %s gave evidence: %v", step, evidence)
			}
			var failed *array.FenceError
			if !errors.As(err, &failed) || failed.Source == "" || failed.Try == "" {
				t.Errorf("the error names no source or no way on: %v", err)
			}
			// The damage that a start now would do: the old epoch's records land.
			at := w.acked.Load()
			l.until("the old epoch writes on", func() bool { return w.acked.Load() > at+5 })
			if e, whole := l.onDisk(at + 5); e != 1 || !whole {
				t.Errorf("the record is of epoch %d (whole %v): the control shows no damage", e, whole)
			}
		})
	}
}

// half brings a login past the map and past CHAP, and stops there.
func (l *lab) half(cfg iscsi.Config) *iscsi.Login {
	l.Helper()
	h, err := iscsi.Begin(l.ctx, cfg)
	l.must("begin", err)
	for !h.Secure() {
		_, err := h.Step(l.ctx)
		l.must("step", err)
	}
	return h
}

// TestHalfLogin: a login that stopped half-way, in a host that was frozen or cut
// off, ends in a session after the map and the account are gone, and writes. Only
// the end of the target itself stops it.
func TestHalfLogin(t *testing.T) {
	l := newLab(t)
	cfg := l.start(1)
	before, after := l.half(cfg), l.half(cfg)
	defer before.Close()
	defer after.Close()
	r := array.Ref{Server: "db", Epoch: 1}
	l.must("unmap", l.a.Unmap(l.ctx, r))
	if got, err := l.a.Sessions(l.ctx, r); err != nil || len(got) > 0 {
		t.Fatalf("tgtd lists half a login: %v, %v; then the fence can be simpler", got, err)
	}
	// The control: all that the fence without Close asks for is true, and yet:
	done, err := before.Step(l.ctx)
	if err != nil || !done {
		t.Fatalf("tgtd has stopped the half login by itself (%v); then the fence can be simpler", err)
	}
	if _, err := iscsi.Do(l.ctx, before.Session(), "write", iscsi.Write16(10, 0, record(1, 0))); err != nil {
		t.Fatalf("the late session cannot write: %v", err)
	}
	// The whole fence finds the late session, and then closes the door for good.
	_, err = l.fence(l.a, 1, cfg)
	l.must("fence", err)
	next := l.start(2)
	s, err := iscsi.Dial(l.ctx, next)
	l.must("login", err)
	defer s.Close()
	if done, err := after.Step(l.ctx); err == nil {
		t.Errorf("a half login ended after the fence: %v", done)
	}
	if _, err := iscsi.Do(l.ctx, before.Session(), "write", iscsi.Write16(10, 0, record(1, 0))); err == nil {
		t.Error("the late session wrote after the fence")
	}
	if _, err := iscsi.Do(l.ctx, s, "write", iscsi.Write16(10, 0, record(2, 0))); err != nil {
		t.Error(err)
	}
	if e, whole := l.onDisk(0); e != 2 || !whole {
		t.Errorf("the block is of epoch %d", e)
	}
}

// TestIdentityMoves: a guest that finds its disks by their identity finds the same
// ones in the next epoch, at another target.
func TestIdentityMoves(t *testing.T) {
	l := newLab(t)
	// designators are all names of page 83 but the short one that tgtd makes of its
	// target's number, which nothing can set; guests prefer the long ones.
	designators := func(page []byte) (out string) {
		for at := 4; at+4 <= len(page); at += 4 + int(page[at+3]) {
			if n := int(page[at+3]); n != 8 {
				out += fmt.Sprintf("%x\n", page[at:at+4+n])
			}
		}
		return out
	}
	page := func(cfg iscsi.Config) string {
		s, err := iscsi.Dial(l.ctx, cfg)
		l.must("login", err)
		defer s.Close()
		var out string
		for _, p := range []byte{0x80, 0x83} {
			in, err := iscsi.Do(l.ctx, s, "inquiry", iscsi.Command{LUN: 10, CDB: []byte{0x12, 1, p, 0, 255, 0}, In: 255})
			l.must("inquiry", err)
			if p == 0x83 {
				out += designators(in)
			} else {
				out += string(in)
			}
		}
		return out
	}
	cfg := l.start(1)
	first := page(cfg)
	_, err := l.fence(l.a, 1, cfg)
	l.must("fence", err)
	if second := page(l.start(2)); second != first || len(first) < 20 {
		t.Errorf("identity %q became %q", first, second)
	}
}

func TestParseRefusesWhatItDoesNotKnow(t *testing.T) {
	good := "Target 1: iqn.x:a\n    I_T nexus information:\n        I_T nexus: 4\n            Initiator: iqn.x:b alias: none\n            Connection: 0\n                IP Address: 10.0.0.1\n    ACL information:\n        iqn.x:b\n"
	got, err := parse(good)
	if err != nil || len(got) != 1 || got[0].nexuses[0].initiator != "iqn.x:b" || got[0].nexuses[0].cids[0] != "0" || got[0].initiators[0] != "iqn.x:b" {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, bad := range []string{
		"    I_T nexus information:\n", "Goal 1: x\n", "Target x: y\n",
		strings.Replace(good, "I_T nexus: 4", "I-T nexus: 4", 1),
		strings.Replace(good, "        I_T nexus: 4\n", "", 1),
	} {
		if got, err := parse(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, got)
		}
	}
}
