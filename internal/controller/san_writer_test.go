package controller_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"relight/internal/agent"
	"relight/internal/array/iscsi"
	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

// ledger is what writers were told is durable: who wrote which record.
type ledger struct {
	mu    sync.Mutex
	acked map[uint64]fleet.Epoch
	last  map[fleet.Epoch]uint64
	// failed is why a writer could not go on last.
	failed map[fleet.Epoch]error
}

func newLedger() *ledger {
	return &ledger{acked: map[uint64]fleet.Epoch{}, last: map[fleet.Epoch]uint64{}, failed: map[fleet.Epoch]error{}}
}

func (l *ledger) ack(epoch fleet.Epoch, seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[seq], l.last[epoch] = epoch, seq
}

// of is the last record of an epoch that was acknowledged, 0 if none was.
func (l *ledger) of(epoch fleet.Epoch) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last[epoch]
}

func (l *ledger) fail(epoch fleet.Epoch, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed[epoch] = err
}

// why says what keeps the writer of an epoch.
func (l *ledger) why(epoch fleet.Epoch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Errorf("at record %d: %w", l.last[epoch], l.failed[epoch])
}

// check reads the file behind the LUN: each acknowledged record must be there, by the
// epoch that was told so. A record of an old epoch in the place of a newer one's is a
// stale write.
func (l *ledger) check(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	block := make([]byte, iscsi.Block)
	for seq, epoch := range l.acked {
		if _, err := f.ReadAt(block, int64(seq)*iscsi.Block); err != nil {
			t.Fatal(err)
		}
		got := fleet.Epoch(binary.BigEndian.Uint64(block))
		switch {
		case binary.BigEndian.Uint64(block[8:]) != seq:
			t.Errorf("record %d of epoch %d was acknowledged and is lost", seq, epoch)
		case got < epoch:
			t.Errorf("record %d of epoch %d was overwritten by epoch %d", seq, epoch, got)
		}
	}
}

// initiators is an agent.Driver whose machines are iSCSI initiators: each writes
// records without pause and, when its session breaks, logs in again and repeats the
// write that was under way, for ever: the worst that a guest can do.
type initiators struct {
	ledger  *ledger
	changes chan struct{}
	// clings has a session kept though the unit refuses its write, as a kernel does.
	clings bool

	mu   sync.Mutex
	list map[string]*initiator
	wg   sync.WaitGroup
}

type initiator struct {
	agent.Instance
	stop context.CancelFunc
	done chan struct{}
}

func newInitiators(l *ledger) *initiators {
	return &initiators{ledger: l, changes: make(chan struct{}, 1), list: map[string]*initiator{}}
}

func (d *initiators) Changes() <-chan struct{}   { return d.changes }
func (d *initiators) Tidy(context.Context) error { return nil }

func (d *initiators) news() {
	select {
	case d.changes <- struct{}{}:
	default:
	}
}

func (d *initiators) Instances() []agent.Instance {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []agent.Instance
	for _, i := range d.list {
		out = append(out, i.Instance)
	}
	slices.SortFunc(out, func(a, b agent.Instance) int { return cmp.Compare(a.Epoch, b.Epoch) })
	return out
}

func instanceKey(server string, epoch fleet.Epoch) string { return fmt.Sprintf("%s.%d", server, epoch) }

func (d *initiators) Do(ctx context.Context, cmd link.Command) (agent.Effect, error) {
	step := cmd.Step
	switch step.Kind {
	case fleet.StepLaunch:
		if len(cmd.Disks) != 1 || cmd.VM == nil {
			return agent.Effect{}, fmt.Errorf("launch of %+v", cmd)
		}
		d.launch(step, cmd.Disks[0])
		return agent.Effect{}, nil
	case fleet.StepStop:
		if err := d.End(ctx, step.Server, step.Epoch); err != nil {
			return agent.Effect{}, err
		}
		return agent.Effect{Evidence: []fleet.Evidence{{Method: fleet.Reaped, Server: step.Server, Epoch: step.Epoch}}}, nil
	default:
		return agent.Effect{}, fmt.Errorf("no step %s", step.Kind)
	}
}

func (d *initiators) launch(step fleet.Step, disk link.Disk) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.list[instanceKey(step.Server, step.Epoch)] != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	i := &initiator{stop: stop, done: make(chan struct{}), Instance: agent.Instance{
		Server: step.Server, Epoch: step.Epoch, State: fleet.InstanceRunning, Alive: fleet.Yes, Since: time.Now(),
	}}
	d.list[instanceKey(step.Server, step.Epoch)] = i
	d.wg.Go(func() { defer close(i.done); d.write(ctx, step.Epoch, disk) })
	d.news()
}

func (d *initiators) End(_ context.Context, server string, epoch fleet.Epoch) error {
	d.mu.Lock()
	i := d.list[instanceKey(server, epoch)]
	d.mu.Unlock()
	if i == nil {
		return fmt.Errorf("no instance %s.%d here", server, epoch)
	}
	i.stop()
	<-i.done
	d.mu.Lock()
	i.State, i.Alive = fleet.InstanceReaped, fleet.No
	d.mu.Unlock()
	d.news()
	return nil
}

// close ends everything, as a power cut would.
func (d *initiators) close() {
	d.mu.Lock()
	for _, i := range d.list {
		i.stop()
	}
	d.mu.Unlock()
	d.wg.Wait()
}

// write appends records from the first free place on.
func (d *initiators) write(ctx context.Context, epoch fleet.Epoch, disk link.Disk) {
	var s *iscsi.Session
	next := uint64(0)
	block := make([]byte, iscsi.Block)
	for ctx.Err() == nil {
		if s == nil {
			var err error
			dial, cancel := context.WithTimeout(ctx, 2*time.Second)
			s, err = iscsi.Dial(dial, iscsi.Config{Portal: disk.Portal, Target: disk.Target, Initiator: disk.Initiator, User: disk.User, Secret: disk.Secret})
			if err == nil && next == 0 {
				next, err = firstFree(dial, s, disk.Unit)
			}
			cancel()
			if err != nil {
				if s != nil {
					_ = s.Close()
				}
				d.ledger.fail(epoch, err)
				s = nil
				wait(ctx, 20*time.Millisecond)
				continue
			}
		}
		binary.BigEndian.PutUint64(block, uint64(epoch))
		binary.BigEndian.PutUint64(block[8:], next)
		call, cancel := context.WithTimeout(ctx, 2*time.Second)
		r, err := execute(call, s, iscsi.Write16(disk.Unit, next, block))
		cancel()
		if err == nil && r.Status != iscsi.Good && d.clings {
			wait(ctx, 20*time.Millisecond)
			continue
		}
		if err != nil || r.Status != iscsi.Good {
			_ = s.Close()
			s = nil
			continue
		}
		d.ledger.ack(epoch, next)
		next++
		wait(ctx, 2*time.Millisecond)
	}
	if s != nil {
		_ = s.Close()
	}
}

// firstFree is the place behind the last record; places count from 1.
func firstFree(ctx context.Context, s *iscsi.Session, unit int) (uint64, error) {
	for at := uint64(1); ; at++ {
		r, err := execute(ctx, s, iscsi.Read16(unit, at, 1))
		if err != nil {
			return 0, err
		}
		if r.Status != iscsi.Good {
			return 0, &iscsi.StatusError{What: "read", Reply: r}
		}
		if binary.BigEndian.Uint64(r.In) == 0 {
			return at, nil
		}
	}
}

// execute sends a command, once more if the unit only had to say that the session is
// new to it.
func execute(ctx context.Context, s *iscsi.Session, c iscsi.Command) (iscsi.Reply, error) {
	r, err := s.Execute(ctx, c)
	if err == nil && r.Status == iscsi.CheckCondition && r.Key == 6 {
		return s.Execute(ctx, c)
	}
	return r, err
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
