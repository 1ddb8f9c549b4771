package simulate

import (
	"context"
	"fmt"
	"time"

	"relight/internal/controller"
	"relight/internal/simulate/oracle"
	"relight/internal/spec"
	"relight/internal/store"
	"relight/internal/store/mem"
)

// backupEvery is how often the store is backed up, where a fault asks for it.
const backupEvery = 5 * time.Second

// backupBatch is how many records are restored at once.
const backupBatch = 64

// backup is what the store held, and what the oracle knew then.
type backup struct {
	at      time.Time
	records []store.Record
	known   oracle.Mark
	docs    []spec.Doc
}

// backUp keeps what the store holds, again and again.
func (e *engine) backUp() {
	if records, _, err := e.store.List(context.Background(), ""); err == nil {
		e.backups = append(e.backups, backup{at: e.clock.Now(), records: records, known: e.oracle.Mark(), docs: e.docs})
	}
	e.world.After(backupEvery, e.backUp)
}

// restoreBackup is what people do whose store is lost: all controllers end, the store
// becomes that of so long ago, with the term raised as relight restore does, and the
// supervisors start the controllers again.
func (e *engine) restoreBackup(age time.Duration) error {
	var last *backup
	for n := range e.backups {
		if b := &e.backups[n]; last == nil || !b.at.After(e.clock.Now().Add(-age)) {
			last = b
		}
	}
	if last == nil {
		return fmt.Errorf("there is no backup yet")
	}
	for _, b := range e.brains {
		b.die()
	}
	made := func() (*mem.Store, error) { return e.restoredFrom(last.records, e.clock.Now().Sub(last.at)) }
	restored, err := made()
	if err != nil {
		return err
	}
	e.store = restored
	if e.quorum != nil {
		e.quorum.restored(made)
	}
	records, _, err := restored.List(context.Background(), "")
	if err != nil {
		return err
	}
	set, err := spec.Resolve(last.docs, nil)
	if err != nil {
		return err
	}
	e.holds(last.docs, set)
	e.oracle.Rewound(last.known, records)
	return nil
}

// restoredFrom makes a store of what a backup holds.
func (e *engine) restoredFrom(records []store.Record, ago time.Duration) (*mem.Store, error) {
	restored := mem.New(mem.Options{Now: e.clock.Now})
	for n := 0; n < len(records); n += backupBatch {
		var txn store.Txn
		for _, r := range records[n:min(n+backupBatch, len(records))] {
			txn.Ops = append(txn.Ops, store.Op{Key: r.Key, Value: r.Value})
		}
		if _, err := restored.Commit(context.Background(), txn); err != nil {
			return nil, err
		}
	}
	return restored, controller.SetBack(context.Background(), restored, ago)
}
