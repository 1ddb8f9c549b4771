package tgt

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/array"
	"relight/internal/array/examine"
	"relight/internal/core/fence"
)

func options(a array.Array) examine.Options {
	return examine.Options{
		Array: a, Prefix: prefix, Load: 4, Watch: 300 * time.Millisecond, FenceWithin: 10 * time.Second,
		Random: rand.Reader, Now: time.Now, Wait: array.WaitBy(time.Now),
	}
}

// TestExamine: tgtd's fence holds, its reservations are no second line, and the
// scratch LUN is left empty for the next time.
func TestExamine(t *testing.T) {
	l := newLab(t)
	l.start(1) // somebody else's target, which must be left alone
	for range 2 {
		opt := options(l.a)
		opt.LastResort = true
		got, err := examine.Run(l.ctx, opt)
		l.must("examine", err)
		names := []string{}
		for _, f := range got.Fence {
			names = append(names, f.Name)
			if !f.Holds || f.Unsure {
				t.Errorf("%+v", f)
			}
		}
		want := []string{"fence", "next epoch", "held write", "half a login", "nothing lands", "old epoch"}
		for _, name := range want[:6] {
			want = append(want, "off line: "+name)
		}
		if !slices.Equal(names, want) {
			t.Errorf("findings %v, want %v", names, want)
		}
		if got.Reservations == nil {
			t.Fatalf("no reservations: %s", got.Trouble)
		}
		ok, why := got.Reservations.SecondLine()
		said := strings.Join(why, "; ")
		for _, want := range []string{"WRITE SAME(10) passes", "preempt and abort is missing", "do not outlive a restart", "a registration ends with its connection"} {
			if ok || !strings.Contains(said, want) {
				t.Errorf("second line %v, %q lacks %q", ok, said, want)
			}
		}
		if len(got.Evidence) != 2 || !strings.Contains(got.Evidence[0].Detail, "login refused") || got.Evidence[0].Offline || !got.Evidence[1].Offline {
			t.Errorf("evidence %+v", got.Evidence)
		}
		data, err := os.ReadFile(array.FilePath(l.a.cfg.Dir, examine.LUN))
		l.must("read", err)
		if len(data) != examine.Bytes || !bytes.Equal(data, make([]byte, len(data))) {
			t.Errorf("the scratch LUN of %d bytes is not empty", len(data))
		}
		if maps, err := l.a.Maps(l.ctx, examine.Server); err != nil || len(maps) > 0 {
			t.Errorf("maps %v are left, %v", maps, err)
		}
	}
	if maps, err := l.a.Maps(l.ctx, "db"); err != nil || len(maps) != 1 {
		t.Errorf("the other's maps are %v, %v", maps, err)
	}
}

// TestExamineRefuses: what is not empty is not written to, neither at its ends nor in
// the middle.
func TestExamineRefuses(t *testing.T) {
	l := newLab(t)
	opt := options(l.a)
	opt.LUN = "data"
	_, err := examine.Run(l.ctx, opt)
	if !errors.Is(err, array.ErrInvalid) {
		t.Errorf("a LUN that is too small: %v", err)
	}
	for _, at := range []int64{0, 3 << 20} {
		name := "scratch" + string(rune('a'+at>>20))
		l.must("create", l.a.Create(l.ctx, array.LUN{Name: name, Bytes: examine.Bytes}))
		file := array.FilePath(l.a.cfg.Dir, name)
		f, err := os.OpenFile(file, os.O_RDWR, 0)
		l.must("open", err)
		_, err = f.WriteAt([]byte("somebody's"), at)
		l.must("write", errors.Join(err, f.Close()))
		before, err := os.ReadFile(file)
		l.must("read", err)
		opt.LUN = name
		if _, err = examine.Run(l.ctx, opt); !errors.Is(err, array.ErrConflict) || !strings.Contains(err.Error(), "unknown kind") {
			t.Errorf("data at %d: %v", at, err)
		}
		if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
			t.Errorf("data at %d: the LUN was written to (%v)", at, err)
		}
		if maps, err := l.a.Maps(l.ctx, examine.Server); err != nil || len(maps) > 0 {
			t.Errorf("maps %v are left, %v", maps, err)
		}
	}
	opt.LUN = "nowhere"
	if _, err = examine.Run(l.ctx, opt); !errors.Is(err, array.ErrNotFound) {
		t.Errorf("a LUN that is not there: %v", err)
	}
}

// liar says yes to all that the fence asks and does nothing: the examination must
// find it out.
type liar struct{ array.Array }

func (a liar) Unmap(context.Context, array.Ref) error                       { return nil }
func (a liar) Sessions(context.Context, array.Ref) ([]array.Session, error) { return nil, nil }
func (a liar) Close(context.Context, array.Ref) error                       { return nil }
func (a liar) Maps(context.Context, string) ([]array.Mapped, error)         { return nil, nil }

// TestExamineFindsALiar: the fence's login finds one that shuts nobody out.
func TestExamineFindsALiar(t *testing.T) {
	l := newLab(t)
	opt := options(liar{l.a})
	opt.FenceWithin = 500 * time.Millisecond
	_, err := examine.Run(l.ctx, opt)
	var failed *array.FenceError
	if !errors.As(err, &failed) || failed.Source != array.SourceUnmap && failed.Source != array.SourceLogin {
		t.Errorf("a liar: %v", err)
	}
}

// door is an array that shuts the second epoch of an examination out by name only: who
// is in stays in, and is not listed. It lets the third in by another way.
type door struct {
	array.Array
	other *Array
	let   []array.Ref
}

func (a *door) second(r array.Ref) bool { return len(a.let) > 1 && r == a.let[1] }

func (a *door) at(r array.Ref) array.Array {
	if len(a.let) > 2 && r == a.let[2] {
		return a.other
	}
	return a.Array
}

func (a *door) Map(ctx context.Context, m array.Map, proof fence.Proof) (array.Target, error) {
	a.let = append(a.let, m.Ref)
	return a.at(m.Ref).Map(ctx, m, proof)
}

func (a *door) Unmap(ctx context.Context, r array.Ref) error { return a.at(r).Unmap(ctx, r) }

func (a *door) Sessions(ctx context.Context, r array.Ref) ([]array.Session, error) {
	if a.second(r) {
		return nil, nil
	}
	return a.at(r).Sessions(ctx, r)
}

func (a *door) Kill(ctx context.Context, s array.Session) error { return a.at(s.Ref).Kill(ctx, s) }

func (a *door) Close(ctx context.Context, r array.Ref) error {
	if a.second(r) {
		return nil
	}
	return a.at(r).Close(ctx, r)
}

func (a *door) Maps(ctx context.Context, server string) ([]array.Mapped, error) {
	all, err := a.Array.Maps(ctx, server)
	return slices.DeleteFunc(all, func(m array.Mapped) bool { return a.second(m.Ref) }), err
}

// TestExamineFindsADoor: an array that refuses the login and lets who is in write on
// would be confirmed by the fence. The examination finds it by what lands.
func TestExamineFindsADoor(t *testing.T) {
	l := newLab(t)
	l.must("create", l.a.Create(l.ctx, array.LUN{Name: "scratch", Bytes: examine.Bytes}))
	other := l.d.array(t.TempDir())
	other.cfg.Prefix += ".other"
	l.must("link", os.Link(array.FilePath(l.a.cfg.Dir, "scratch"), array.FilePath(other.cfg.Dir, "scratch")))
	opt := options(&door{Array: l.a, other: other})
	opt.LUN = "scratch"
	got, err := examine.Run(l.ctx, opt)
	l.must("examine", err)
	var found []string
	for _, f := range got.Fence {
		if !f.Holds {
			found = append(found, f.Name)
		}
	}
	if want := []string{"held write", "half a login", "nothing lands", "old epoch"}; !slices.Equal(found, want) {
		t.Errorf("found %v, want %v: %+v", found, want, got.Fence)
	}
}
