package controller_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"relight/internal/api/client"
	"relight/internal/array"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// TestSnapshotIsPutBack is the whole way of a person whose upgrade went wrong, with a
// real controller, real agents and a real iSCSI target: the snapshot of before the move
// is put back once the server is paused and has ended, and not before; the next epoch
// goes on from it; who asked is in the record.
func TestSnapshotIsPutBack(t *testing.T) {
	g := newTarget(t)
	must(t, array.CreateFile(g.dir, array.LUN{Name: "db-1-data", Bytes: 64 << 20}))
	log := logOf(t)
	c := startController(t, log)
	book := newLedger()
	machines := map[string]*initiators{}
	for _, name := range []string{"host-1", "host-2"} {
		machines[name] = newInitiators(book)
		t.Cleanup(machines[name].close)
		c.join(t, name, t.TempDir(), machines[name], log)
	}
	c.apply(t, fmt.Sprintf(sanYAML, g.portal, g.dir, g.control))
	first := c.healthy(t, 1)
	writes(t, book, 1, 30)
	second := map[string]string{"host-1": "host-2", "host-2": "host-1"}[first]
	_, err := c.Move(t.Context(), "db-1", client.MoveRequest{To: second, Snapshot: true})
	must(t, err)
	c.healthy(t, 2)
	writes(t, book, 2, 30)
	const name = "relight-db-1-e1"
	kept, by := lastRecord(t, array.FilePath(g.dir, "db-1-data."+name))
	if by != 1 || kept < book.of(1) {
		t.Fatalf("the snapshot ends with record %d of epoch %d", kept, by)
	}

	list, err := c.Snapshots(t.Context(), "db-1")
	if err != nil || len(list.Items) != 1 || list.Items[0].Name != name || list.Items[0].Volume != "data" || list.Items[0].Bytes != 64<<20 {
		t.Fatalf("%+v, %v", list.Items, err)
	}
	c.noRestore(t, name, "it is not paused", "relight pause db-1")
	_, err = c.Pause(t.Context(), "db-1", "back to before the upgrade")
	must(t, err)
	c.noRestore(t, name, "epoch 2 is running on "+second, "relight why db-1")
	must(t, machines[second].End(t.Context(), "db-1", 2)) // a person shuts it down
	c.noRestore(t, "relight-db-1-e9", "no array keeps", "relight snapshots list db-1")
	eventually(t, "the snapshot is put back", func() error {
		_, err := c.RestoreSnapshot(t.Context(), "db-1", name, "the upgrade went wrong")
		return err
	})
	if last, by := lastRecord(t, array.FilePath(g.dir, "db-1-data")); last != kept || by != 1 {
		t.Errorf("the LUN ends with record %d of epoch %d, want %d of epoch 1", last, by, kept)
	}

	must(t, c.Resume(t.Context(), "db-1"))
	c.healthy(t, 3)
	writes(t, book, 3, 20)
	c.noRestore(t, name, "it is not paused", "relight pause db-1")
	_, err = c.DeleteSnapshot(t.Context(), "db-1", "relight-db-1")
	refusedWith(t, err, "no array keeps", "relight snapshots list db-1")
	_, err = c.DeleteSnapshot(t.Context(), "db-1", name)
	must(t, err)
	if list, err := c.Snapshots(t.Context(), ""); err != nil || len(list.Items) != 0 {
		t.Errorf("after the delete: %+v, %v", list.Items, err)
	}
	c.deedsOf(t)
	for _, m := range machines {
		m.close()
	}
	// Records that epoch 2 wrote behind the snapshot were given up on purpose; those of
	// epoch 3 stand where they were.
	book.forget(2)
	book.check(t, array.FilePath(g.dir, "db-1-data"))
}

func (l *ledger) forget(epoch fleet.Epoch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for seq, by := range l.acked {
		if by == epoch {
			delete(l.acked, seq)
		}
	}
}

func (c control) noRestore(t *testing.T, name, why, next string) {
	t.Helper()
	eventually(t, "the restore is refused: "+why, func() error {
		_, err := c.RestoreSnapshot(t.Context(), "db-1", name, "because")
		return refusal(err, why, next)
	})
}

func refusedWith(t *testing.T, err error, why, next string) {
	t.Helper()
	if err := refusal(err, why, next); err != nil {
		t.Error(err)
	}
}

func refusal(err error, why, next string) error {
	var p *client.Problem
	if !errors.As(err, &p) || !strings.Contains(p.Detail, why) || !strings.HasPrefix(p.Next, next) {
		return fmt.Errorf("%w (%+v), want %q and then %q", err, p, why, next)
	}
	return nil
}

// deedsOf looks for the intents and ends of both deeds in the record, by the person.
func (c control) deedsOf(t *testing.T) {
	t.Helper()
	list, err := c.Events(t.Context(), client.EventQuery{Server: "db-1", Limit: 1000})
	must(t, err)
	seen := map[string]int{}
	for _, r := range list.Items {
		e := r.Event
		if e.Step == nil || e.Step.Step.Kind != fleet.StepRestore && e.Step.Step.Kind != fleet.StepDrop {
			continue
		}
		if e.By == "" || e.By == "relight" || !e.Destructive {
			t.Errorf("%s of %s is by %q", e.Kind, e.Step.Step.Kind, e.By)
		}
		if e.Kind == event.StepIntended || e.Step.State == fleet.StepDone {
			seen[string(e.Kind)+" "+string(e.Step.Step.Kind)]++
		}
	}
	for _, want := range []string{"step_intended restore", "step_ended restore", "step_intended drop", "step_ended drop"} {
		if seen[want] != 1 {
			t.Errorf("the record has %s %d times: %v", want, seen[want], seen)
		}
	}
	report, err := c.VerifyAudit(t.Context())
	if err != nil || !report.OK {
		t.Errorf("the audit: %+v, %v", report, err)
	}
}
