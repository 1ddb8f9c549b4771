package examine

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"relight/internal/array/iscsi"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

const (
	// fenceEvery is the first pause between two looks of a fence.
	fenceEvery = 20 * time.Millisecond
	// readyWithin bounds the time until the old epoch writes at full load.
	readyWithin = 15 * time.Second
	// lateWithin bounds the answer to what is sent after the fence.
	lateWithin = 5 * time.Second
	// lookEvery is the pause between two looks at the watched LUN.
	lookEvery = 250 * time.Millisecond

	// slot is the size of one write, slots how many there are places for, and from
	// where the first lies; the held writes lie behind the last.
	slot  = 64 << 10
	slots = 64
	from  = 1 << 20
	// held and half are the blocks of the write that is held back and of the one that
	// a late login sends.
	held = (from + slots*slot) / iscsi.Block
	half = held + 1
	// needs is the least size of the scratch LUN, in bytes: what is written to lies
	// between the ends that a scan reads.
	needs = 8 << 20
)

// trial lets an epoch in, has it write, shuts it out, lets the next one in, and looks
// whether anything of the old one lands. It returns the proof for the epoch after these,
// if it came that far.
func (x *examination) trial(ctx context.Context, e fleet.Epoch, proof fence.Proof) (fence.Proof, bool, error) {
	var none fence.Proof
	cfg, err := x.letIn(ctx, e, proof)
	if err != nil {
		return none, false, err
	}
	old, err := x.busy(ctx, cfg, e)
	if err != nil {
		return none, false, fmt.Errorf("the old epoch at work: %w", err)
	}
	defer old.end()
	began := x.Now()
	evidence, failed := x.shutOut(ctx, e, cfg)
	old.load.over.Store(true)
	if failed != nil {
		x.note("fence", false, failed.Error())
		return none, false, ctx.Err()
	}
	x.report.Evidence = append(x.report.Evidence, evidence...)
	x.note("fence", true, fmt.Sprintf("confirmed after %s with %d writes under way: %s", x.Now().Sub(began).Round(time.Millisecond), x.Load+1, evidence[0].Detail))
	proof, err = x.proofOf(e, evidence)
	if err != nil {
		return none, false, err
	}
	next, err := x.letIn(ctx, e+1, proof)
	if err != nil {
		x.note("next epoch", false, err.Error())
		return none, false, ctx.Err()
	}
	if ok, err := x.after(ctx, next, e+1, old); !ok || err != nil {
		return none, false, err
	}
	x.resort = nil // what is left of both goes now
	if _, err := x.shutOut(ctx, e, cfg); err != nil {
		return none, false, err
	}
	proof, err = x.prove(ctx, e+1, next)
	return proof, err == nil, err
}

// after works as the next epoch while the old one tries everything to come back. It
// reports whether it came to its end, with the LUN empty again.
func (x *examination) after(ctx context.Context, cfg iscsi.Config, e fleet.Epoch, old *oldEpoch) (bool, error) {
	s, err := iscsi.Dial(ctx, cfg)
	if err != nil {
		x.note("next epoch", false, "it cannot log in: "+err.Error())
		return false, ctx.Err()
	}
	defer func() { _ = s.Close() }()
	want := pattern(e, 0, 0, slots*slot+2*iscsi.Block)
	if err := put(ctx, s, want); err != nil {
		x.note("next epoch", false, "it cannot write: "+err.Error())
		return false, ctx.Err()
	}
	x.note("next epoch", true, "works on the same LUN")
	x.heldWrite(ctx, old)
	x.halfLogin(ctx, old)
	tries := old.load.failed.Load()
	x.watch(ctx, s, want)
	old.end()
	x.tried(old, old.load.failed.Load()-tries)
	if err := put(ctx, s, make([]byte, len(want))); err != nil {
		return false, fmt.Errorf("empty the scratch LUN again: %w", err)
	}
	return true, nil
}

func (x *examination) note(name string, holds bool, detail string) {
	x.add(Finding{Name: name, Holds: holds, Detail: detail})
}

// add notes a finding.
func (x *examination) add(f Finding) {
	if x.resort != nil {
		f.Name = "off line: " + f.Name
	}
	x.report.Fence = append(x.report.Fence, f)
}

// heldWrite sends the data that the array waited for when the epoch was shut out.
func (x *examination) heldWrite(ctx context.Context, old *oldEpoch) {
	ctx, cancel := context.WithTimeout(ctx, lateWithin)
	defer cancel()
	r, err := old.held.Finish(ctx)
	switch {
	case err != nil:
		x.note("held write", true, "a write that the array had taken, and whose data came after the fence, is lost with its session")
	case r.Status != iscsi.Good:
		x.note("held write", true, fmt.Sprintf("a write whose data came after the fence was answered with status %#x", r.Status))
	default:
		x.note("held write", false, "a write whose data came after the fence was acknowledged")
	}
}

// halfLogin ends a login that had passed name and secret before the fence.
func (x *examination) halfLogin(ctx context.Context, old *oldEpoch) {
	ctx, cancel := context.WithTimeout(ctx, lateWithin)
	defer cancel()
	for {
		done, err := old.half.Step(ctx)
		if err != nil {
			x.note("half a login", true, "a login that had begun before the fence does not end in a session")
			return
		}
		if !done {
			continue
		}
		_, err = iscsi.Do(ctx, old.half.Session(), "late write", iscsi.Write16(unit, half, pattern(old.epoch, 0, 0, iscsi.Block)))
		if err == nil {
			x.note("half a login", false, "a login that had begun before the fence ended in a session that writes")
			return
		}
		// With the LUN off line this is how it should be.
		x.add(Finding{Name: "half a login", Holds: true, Unsure: x.resort == nil, Detail: "a login that had begun before the fence ended in a session, which cannot write: " + err.Error()})
		return
	}
}

// watch reads the LUN again and again: what lands late shows itself as a block that is
// not the next epoch's.
func (x *examination) watch(ctx context.Context, s iscsi.Path, want []byte) {
	began := x.Now()
	for looks := 0; ; looks++ {
		is, err := get(ctx, s, len(want))
		if err != nil {
			x.add(Finding{Name: "nothing lands", Unsure: true, Detail: "the LUN could not be read: " + err.Error()})
			return
		}
		if n := differing(is, want); n > 0 {
			x.note("nothing lands", false, fmt.Sprintf("%d blocks of the next epoch were overwritten within %s of the fence", n, x.Now().Sub(began).Round(time.Millisecond)))
			return
		}
		if x.Now().Sub(began) >= x.Watch {
			x.note("nothing lands", true, fmt.Sprintf("the LUN did not change for %s", x.Watch))
			return
		}
		if err := x.Wait(ctx, x.Now().Add(lookEvery)); err != nil {
			x.add(Finding{Name: "nothing lands", Unsure: true, Detail: "not watched to the end: " + err.Error()})
			return
		}
	}
}

// tried says what came of the old epoch's writers, which went on all the time.
func (x *examination) tried(old *oldEpoch, tries uint64) {
	switch stale := old.load.stale.Load(); {
	case stale > 0:
		x.note("old epoch", false, fmt.Sprintf("%d writes that it sent after the fence were acknowledged", stale))
	case tries == 0:
		x.add(Finding{Name: "old epoch", Unsure: true, Detail: "it hangs: no try of it to come back was answered in that time"})
	default:
		x.note("old epoch", true, fmt.Sprintf("%d writes before the fence; %d tries to come back since were refused", old.load.acked.Load(), tries))
	}
}

// differing counts the blocks that are not the same.
func differing(a, b []byte) int {
	n := 0
	for at := 0; at < len(b); at += iscsi.Block {
		if !bytes.Equal(a[at:at+iscsi.Block], b[at:at+iscsi.Block]) {
			n++
		}
	}
	return n
}

// put writes to where the trial writes, get reads it.
func put(ctx context.Context, p iscsi.Path, data []byte) error {
	for at := 0; at < len(data); at += slot {
		piece := data[at:min(at+slot, len(data))]
		if _, err := iscsi.Do(ctx, p, "write", iscsi.Write16(unit, uint64(from+at)/iscsi.Block, piece)); err != nil {
			return err
		}
	}
	return nil
}

func get(ctx context.Context, p iscsi.Path, n int) ([]byte, error) {
	out := make([]byte, n)
	_, err := iscsi.Unit{Ctx: ctx, Path: p, LUN: unit, Size: from + int64(n)}.ReadAt(out, from)
	return out, err
}

// zeroes reports whether there is nothing where the trial writes.
func zeroes(u iscsi.Unit) (bool, error) {
	is := make([]byte, slots*slot+2*iscsi.Block)
	if _, err := u.ReadAt(is, from); err != nil {
		return false, err
	}
	return differing(is, make([]byte, len(is))) == 0, nil
}
