package controller_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/array"
	"relight/internal/array/iscsi"
	"relight/internal/array/tgt"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// TestOP_SNAP moves a server that writes with a snapshot: with a real controller, real
// agents and a real iSCSI target. The snapshot holds each record that epoch 1 was told
// is durable and none of epoch 2; put back, it is what the next epoch reads.
func TestOP_SNAP(t *testing.T) {
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
	// A second portal on which nobody listens: what the first one says counts.
	text := fmt.Sprintf(sanYAML, g.portal, g.dir, g.control)
	c.apply(t, strings.Replace(text, "options: {", `morePortals: ["127.0.0.1:1"], options: {`, 1))

	first := c.healthy(t, 1)
	writes(t, book, 1, 50)
	other := map[string]string{"host-1": "host-2", "host-2": "host-1"}[first]
	plan, err := c.Plan(t.Context(), "db-1", client.PlanQuery{Host: other, Snapshot: true})
	must(t, err)
	if len(plan.Steps) < 2 || plan.Steps[1].Step.Kind != fleet.StepSnapshot {
		t.Errorf("the plan is %+v, want a snapshot after the stop", plan.Steps)
	}
	_, err = c.Move(t.Context(), "db-1", client.MoveRequest{To: other, Snapshot: true, Reason: "a risky upgrade"})
	must(t, err)
	if got := c.healthy(t, 2); got != other {
		t.Fatalf("epoch 2 is on %s, want %s", got, other)
	}
	ended := book.of(1)
	why, err := c.Why(t.Context(), "db-1")
	must(t, err)
	if !slices.ContainsFunc(why.Status.Evidence, func(e fleet.Evidence) bool {
		return e.Epoch == 1 && e.Method == fleet.InitiatorRemoved && strings.Contains(e.Detail, "login refused")
	}) {
		t.Errorf("epoch 1 was not shut out, and refused where it could be asked: %+v", why.Status.Evidence)
	}
	writes(t, book, 2, 50)

	kept := array.FilePath(g.dir, "db-1-data.relight-db-1-e1")
	last, by := lastRecord(t, kept)
	// The end of an epoch may cut off the word that its last record is durable.
	if last < ended || last > ended+1 || by != 1 {
		t.Errorf("the snapshot ends with record %d of epoch %d, want %d of epoch 1, or one more", last, by, ended)
	}
	a := g.array(t)
	list, err := a.Snapshots(t.Context(), "db-1-data")
	if err != nil || len(list) != 1 || list[0].Name != "relight-db-1-e1" || list[0].Bytes != 64<<20 {
		t.Errorf("%+v, %v", list, err)
	}
	if err := a.RestoreSnapshot(t.Context(), "db-1-data", "relight-db-1-e1"); !errors.Is(err, array.ErrMapped) {
		t.Fatalf("restored under epoch 2: %v", err)
	}

	// A snapshot that cannot be taken, because another has its name: it goes back, and
	// nothing is lost.
	fill := array.FilePath(g.dir, "db-1-data.relight-db-1-e2")
	must(t, os.WriteFile(fill, []byte("in the way"), 0o600))
	must(t, os.Chtimes(fill, list[0].At, list[0].At))
	_, err = c.Move(t.Context(), "db-1", client.MoveRequest{To: first, Snapshot: true})
	must(t, err)
	if got := c.healthy(t, 3); got != other {
		t.Errorf("epoch 3 is on %s, want %s where it was", got, other)
	}
	writes(t, book, 3, 20)

	for _, m := range machines {
		m.close()
	}
	book.check(t, array.FilePath(g.dir, "db-1-data"))
	g.readsBack(t, last)
}

// array is the driver on the private tgtd, for who looks at it from outside.
func (g *target) array(t *testing.T) *tgt.Array {
	control, err := strconv.Atoi(g.control)
	must(t, err)
	return tgt.New(tgt.Config{Name: "san-1", Prefix: "iqn.2026-01.org.example", Portal: g.portal, Dir: g.dir, Control: control})
}

// lastRecord is the last record of a file, and who wrote it.
func lastRecord(t *testing.T, path string) (seq uint64, by fleet.Epoch) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	for at := iscsi.Block; at < len(data) && binary.BigEndian.Uint64(data[at:]) != 0; at += iscsi.Block {
		by, seq = fleet.Epoch(binary.BigEndian.Uint64(data[at:])), binary.BigEndian.Uint64(data[at+8:])
	}
	return seq, by
}

// readsBack puts the first snapshot back, as a person does whose upgrade went wrong,
// and reads it as an initiator. The array is started anew, so that it has no maps.
func (g *target) readsBack(t *testing.T, last uint64) {
	t.Helper()
	g.stop()
	g.start()
	a := g.array(t)
	must(t, a.RestoreSnapshot(t.Context(), "db-1-data", "relight-db-1-e1"))
	proof, _ := fence.Prove(fleet.Server{Name: "reader"}, 0, "", nil, time.Now())
	m, err := array.NewMap("iqn.2026-01.org.example", array.Ref{Server: "reader", Epoch: 1}, map[int]string{1: "db-1-data"}, strings.NewReader("0123456789abcdef"))
	must(t, err)
	at, err := a.Map(t.Context(), m, proof)
	must(t, err)
	s, err := iscsi.Dial(t.Context(), m.Config(at))
	must(t, err)
	defer s.Close()
	free, err := firstFree(t.Context(), s, 1)
	must(t, err)
	if free != last+1 {
		t.Errorf("the LUN ends with record %d after the restore, want %d", free-1, last)
	}
	r, err := execute(t.Context(), s, iscsi.Read16(1, last, 1))
	must(t, err)
	if by := binary.BigEndian.Uint64(r.In); by != 1 {
		t.Errorf("record %d is of epoch %d, want 1", last, by)
	}
}
