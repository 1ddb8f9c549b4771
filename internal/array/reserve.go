package array

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"relight/internal/array/iscsi"
)

// Finding is what an array did with one command of an initiator that a
// reservation should keep out.
type Finding string

// The findings.
const (
	// Stopped: refused with a reservation conflict, and the data is as it was.
	Stopped Finding = "stopped"
	// Unsupported: the array does not know the command, so it harms nobody.
	Unsupported Finding = "unsupported"
	// LetThrough: the command passed the reservation.
	LetThrough Finding = "let through"
)

// Reservations is what a probe found out about an array.
type Reservations struct {
	// Commands are the writing commands by name.
	Commands map[string]Finding
	// Preempts: a preempted key is gone from the list when it is read again.
	Preempts bool
	// Aborts: preempt and abort exists.
	Aborts bool
	// Persists: the array accepts registrations that outlive a power loss.
	Persists bool
	// Covers: a registration that an initiator made in one session is good for its other
	// sessions. The standard ties it to one; but only where this is so can somebody
	// register for QEMU, which draws a new session identifier for each connection.
	Covers bool
	// Rejoins: a registration is still there when its initiator comes back under the
	// same name after its connection broke. Without it each cut of the network would
	// take the running epoch's right to write.
	Rejoins bool
	// Returns: a preempted initiator can simply register again. It can everywhere;
	// this is why a reservation alone fences nobody who does not play by the rules.
	Returns bool
}

// SecondLine reports whether reservations count as a second line on this array,
// and if not, why. They never count as the first.
func (r Reservations) SecondLine() (ok bool, why []string) {
	for _, c := range writers(0, 0) {
		if f := r.Commands[c.name]; f != Stopped && f != Unsupported {
			why = append(why, fmt.Sprintf("%s passes a reservation", c.name))
		}
	}
	if !r.Preempts {
		why = append(why, "preempt does not remove the key")
	}
	if !r.Covers {
		why = append(why, "a registration is good for the one session that made it, so that nobody can register for the machine that writes")
	}
	if !r.Aborts {
		why = append(why, "preempt and abort is missing, so that commands inside the array still land")
	}
	if !r.Persists {
		why = append(why, "registrations do not outlive a restart of the array")
	}
	if !r.Rejoins {
		why = append(why, "a registration ends with its connection, so that a short cut of the network would stop the epoch that runs")
	}
	return len(why) == 0, why
}

type writer struct {
	name string
	cmd  iscsi.Command
}

// writers are the commands that change data, each for its own block.
func writers(lun int, from uint64) []writer {
	ones := bytes.Repeat([]byte{0xa5}, iscsi.Block)
	old := make([]byte, iscsi.Block)
	list := []writer{
		{"WRITE(10)", iscsi.Write10(lun, 0, ones)},
		{"WRITE(16)", iscsi.Write16(lun, 0, ones)},
		{"WRITE SAME(10)", iscsi.WriteSame10(lun, 0, ones)},
		{"WRITE SAME(16)", iscsi.WriteSame16(lun, 0, ones)},
		{"WRITE AND VERIFY(10)", iscsi.WriteVerify10(lun, 0, ones)},
		{"WRITE AND VERIFY(16)", iscsi.WriteVerify16(lun, 0, ones)},
		{"ORWRITE(16)", iscsi.ORWrite16(lun, 0, ones)},
		{"COMPARE AND WRITE", iscsi.CompareAndWrite(lun, 0, old, ones)},
		{"UNMAP", iscsi.Unmap(lun, from, 1)},
	}
	for i := range list[:len(list)-1] {
		list[i].cmd = at(list[i].cmd, from+1+uint64(i))
	}
	return list
}

// at puts another block number into a command.
func at(c iscsi.Command, block uint64) iscsi.Command {
	for i, n := 2, 4; i < 10; i++ {
		if c.CDB[0] >= 0x80 {
			n = 8
		}
		if i-2 < n {
			c.CDB[i] = byte(block >> (8 * (n - 1 - (i - 2))))
		}
	}
	return c
}

// probeBlocks is how many blocks from the first on a probe writes to.
const probeBlocks = 16

// Probing is what a probe tries reservations with.
type Probing struct {
	// Holder and Other are sessions of two initiators that both may use the unit.
	Holder, Other iscsi.Path
	// Again ends the connection of Other and logs in under the same name and ISID.
	Again func(context.Context) (iscsi.Path, error)
	// Another logs in under Other's name beside it; the caller ends that session.
	Another func(context.Context) (iscsi.Path, error)
	LUN     int
}

// Probe finds out what reservations are worth on an array. It overwrites the first
// blocks of the unit, which must be empty: a scratch LUN made for enrolment.
func Probe(ctx context.Context, p Probing) (Reservations, error) {
	holder, other, lun := p.Holder, p.Other, p.LUN
	out := Reservations{Commands: map[string]Finding{}}
	size, err := iscsi.Capacity(ctx, holder, lun)
	if err != nil {
		return out, fmt.Errorf("probe: %w", err)
	}
	if found, err := Scan(iscsi.Unit{Ctx: ctx, Path: holder, LUN: lun, Size: size}, size); err != nil {
		return out, fmt.Errorf("probe: %w", err)
	} else if len(found) > 0 {
		return out, fmt.Errorf("probe of a LUN with %v: %w", found, ErrConflict)
	}
	keep := bytes.Repeat([]byte{0x3c}, iscsi.Block) // for UNMAP to take away
	if _, err := iscsi.Do(ctx, other, "first write", iscsi.Write16(lun, 0, keep)); err != nil {
		return out, fmt.Errorf("probe: %w", err)
	}
	if err = out.preempt(ctx, holder, other, lun); err == nil {
		err = errors.Join(out.try(ctx, holder, other, lun), out.abort(ctx, p))
	}
	back := other
	if err == nil {
		back, err = out.rejoin(ctx, p)
	}
	// Leave the scratch LUN as it was found, so that a probe can be repeated.
	if err = errors.Join(err, clean(ctx, holder, back, lun)); err != nil {
		return out, fmt.Errorf("probe: %w", err)
	}
	return out, nil
}

// clean takes all keys away, by whichever of the two is obeyed, and what was written.
func clean(ctx context.Context, holder, other iscsi.Path, lun int) error {
	var errs []error
	for _, by := range []struct {
		path iscsi.Path
		key  uint64
	}{{other, theirs}, {holder, ours}} {
		errs = append(errs, give(ctx,
			order{"register to clear", by.path, iscsi.Register(lun, by.key)},
			order{"clear keys", by.path, iscsi.ClearKeys(lun, by.key)},
		))
	}
	_, err := iscsi.Do(ctx, holder, "wipe", iscsi.Write16(lun, 0, make([]byte, probeBlocks*iscsi.Block)))
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	return nil
}

const ours, theirs = 0x52454c5600000002, 0x52454c5600000001

// order is one command of a probe.
type order struct {
	what string
	path iscsi.Path
	cmd  iscsi.Command
}

func give(ctx context.Context, orders ...order) error {
	for _, o := range orders {
		if _, err := iscsi.Do(ctx, o.path, o.what, o.cmd); err != nil {
			return err
		}
	}
	return nil
}

// preempt lets the holder take the reservation from the other.
func (r *Reservations) preempt(ctx context.Context, holder, other iscsi.Path, lun int) error {
	err := give(ctx,
		order{"register the holder", holder, iscsi.Register(lun, ours)},
		order{"register the other", other, iscsi.Register(lun, theirs)},
		order{"reserve for the other", other, iscsi.Reserve(lun, theirs)},
	)
	if err != nil {
		return err
	}
	if _, err = iscsi.Do(ctx, holder, "preempt", iscsi.Preempt(lun, ours, theirs)); err != nil {
		return err
	}
	keys, err := iscsi.Keys(ctx, holder, lun)
	r.Preempts = err == nil && len(keys) == 1 && keys[0] == ours
	return err
}

// try sends each writing command as the initiator without a key, and looks at the
// data: some arrays answer with an error and write all the same.
func (r *Reservations) try(ctx context.Context, holder, other iscsi.Path, lun int) error {
	for i, w := range writers(lun, 0) {
		block := uint64(i + 1)
		if w.name == "UNMAP" {
			block = 0
		}
		before, err := iscsi.Do(ctx, holder, "read", iscsi.Read16(lun, block, 1))
		if err != nil {
			return err
		}
		_, refused := iscsi.Do(ctx, other, w.name, w.cmd)
		after, err := iscsi.Do(ctx, holder, "read", iscsi.Read16(lun, block, 1))
		if err != nil {
			return err
		}
		var status *iscsi.StatusError
		switch {
		case refused == nil || !bytes.Equal(before, after):
			r.Commands[w.name] = LetThrough
		case !errors.As(refused, &status):
			return refused
		case status.Reply.Status == iscsi.ReservationConflict:
			r.Commands[w.name] = Stopped
		case status.Reply.Key == 5 && status.Reply.ASC == 0x20:
			r.Commands[w.name] = Unsupported
		default:
			return refused
		}
	}
	return nil
}

// abort lets the other come back with a key, and takes that away for good.
func (r *Reservations) abort(ctx context.Context, p Probing) error {
	holder, other, lun := p.Holder, p.Other, p.LUN
	_, err := iscsi.Do(ctx, other, "register again", iscsi.Register(lun, theirs))
	if r.Returns, err = told(err); err != nil {
		return err
	}
	if !r.Returns {
		return nil
	}
	another, err := p.Another(ctx)
	if err != nil {
		return err
	}
	_, err = iscsi.Do(ctx, another, "write beside", iscsi.Write16(lun, probeBlocks-1, make([]byte, iscsi.Block)))
	if r.Covers, err = told(err); err != nil {
		return err
	}
	_, err = iscsi.Do(ctx, holder, "preempt and abort", iscsi.PreemptAbort(lun, ours, theirs))
	if r.Aborts, err = told(err); err != nil {
		return err
	}
	_, err = iscsi.Do(ctx, holder, "register for ever", iscsi.RegisterForEver(lun, ours))
	r.Persists, err = told(err)
	return err
}

// rejoin cuts the connection of an initiator that is registered, as a network does, and
// sees whether it has its key and may write when it is back.
func (r *Reservations) rejoin(ctx context.Context, p Probing) (iscsi.Path, error) {
	err := give(ctx,
		order{"clear keys before a cut", p.Holder, iscsi.ClearKeys(p.LUN, ours)},
		order{"register before a cut", p.Other, iscsi.Register(p.LUN, theirs)},
		order{"register the holder before a cut", p.Holder, iscsi.Register(p.LUN, ours)},
		order{"reserve before a cut", p.Holder, iscsi.Reserve(p.LUN, ours)},
	)
	if err != nil {
		return p.Other, err
	}
	back, err := p.Again(ctx)
	if err != nil {
		return p.Other, err
	}
	keys, err := iscsi.Keys(ctx, back, p.LUN)
	if err != nil {
		return back, err
	}
	_, err = iscsi.Do(ctx, back, "write after a cut", iscsi.Write16(p.LUN, probeBlocks-1, make([]byte, iscsi.Block)))
	writes, err := told(err)
	r.Rejoins = writes && slices.Contains(keys, theirs)
	return back, err
}

// told parts an array's no from an error of the way there.
func told(err error) (yes bool, failed error) {
	var status *iscsi.StatusError
	if errors.As(err, &status) {
		return false, nil
	}
	return err == nil, err
}
