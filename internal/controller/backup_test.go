package controller

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/store"
	"relight/internal/store/backup"
	"relight/internal/store/etcd"
)

var quiet = slog.New(slog.DiscardHandler)

// backupOf saves the living controller's store to a file.
func (r *rig) backupOf() string {
	r.t.Helper()
	b := &Backend{Journal: r.live.journal, Chronicle: r.live.chronicle, Clock: r.clock, Log: quiet}
	var out bytes.Buffer
	if err := b.Backup(context.Background(), "kim", &out); err != nil {
		r.t.Fatal(err)
	}
	path := filepath.Join(r.t.TempDir(), "a.backup")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// restoreFrom puts a controller in the place of the living one that knows no more
// than the backup.
func (r *rig) restoreFrom(path string) Restored {
	r.t.Helper()
	dir := filepath.Join(r.t.TempDir(), "restored")
	got, err := Restore(r.t.Context(), path, dir, time.Now(), quiet)
	if err != nil {
		r.t.Fatal(err)
	}
	r.store = openStore(r.t, dir)
	r.start()
	return got
}

func openStore(t *testing.T, dir string) store.Store {
	t.Helper()
	st, err := etcd.Open(t.Context(), etcd.Options{Dir: filepath.Join(dir, "store"), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// recoverTo kills the running instance until the server has come to an epoch.
func (r *rig) recoverTo(epoch fleet.Epoch) {
	r.t.Helper()
	for r.status("db").Epoch < epoch {
		before := r.status("db").Epoch
		r.world.Lock()
		r.mustWorld(r.world.Kill(r.instanceOf("db")))
		r.world.Unlock()
		r.until(time.Minute, "db is healed", func() bool { return r.status("db").Epoch > before && r.healthy("db") })
	}
}

// A store that was restored from an old backup knows fewer epochs than there were:
// none of them may be used again (S3), whether the last one still runs or only its
// volume remembers it.
func TestRestoreReusesNoEpoch(t *testing.T) {
	for name, ended := range map[string]bool{"the last epoch runs": false, "the last epoch has ended": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, processStyle(), "db")
			r.until(30*time.Second, "db is launched", func() bool { return r.healthy("db") })
			first, term := r.status("db").Epoch, r.live.reign.Authority().Term
			path := r.backupOf()
			r.recoverTo(first + 3)
			last := r.instanceOf("db")
			if ended {
				r.world.Lock()
				r.mustWorld(r.world.KillHost(r.status("db").Host))
				r.world.Unlock()
			}

			if got := r.restoreFrom(path); got.Servers != 1 || got.Records == 0 {
				t.Errorf("restored %+v", got)
			}
			if got := r.status("db").Epoch; got != first {
				t.Fatalf("the backup knows epoch %d, want %d", got, first)
			}
			if now := r.live.reign.Authority().Term; now < term+1_000_000 {
				t.Errorf("the term is %d after %d: agents that saw later ones would refuse it", now, term)
			}
			r.until(3*time.Minute, "db is healthy again", func() bool { return r.status("db").Epoch > first && r.healthy("db") })
			if !ended && r.status("db").Epoch != last.Epoch {
				t.Errorf("epoch %d ran; now it is %d", last.Epoch, r.status("db").Epoch)
			}
			r.recoverTo(last.Epoch + 2)
			r.endState()
			launched := r.live.chronicle.Latest(1000, func(e event.Event) bool {
				return e.Kind == event.StepIntended && e.Step != nil && e.Step.Step.Kind == fleet.StepLaunch
			})
			if len(launched) < 2 {
				t.Errorf("only %d launches are in the record", len(launched))
			}
			for _, rec := range launched {
				if epoch := rec.Event.Step.Step.Epoch; epoch > first && epoch <= last.Epoch {
					t.Errorf("epoch %d was launched again", epoch)
				}
			}
		})
	}
}

// The journal stays whole through a restore, closed segments too.
func TestRestoreKeepsTheAudit(t *testing.T) {
	r := newRig(t, processStyle(), "db")
	r.live.chronicle.dir = t.TempDir()
	for range 2*segmentSize/batchLimit + 1 {
		err := r.live.journal.Do(t.Context(), r.clock.Now(), func(tx *Tx) error {
			for range batchLimit {
				tx.Emit(event.Event{Kind: event.Held, Server: "db", Message: "again"})
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(r.live.chronicle.Compact(t.Context()), r.live.chronicle.Checkpoint(t.Context(), r.clock.Now())); err != nil {
		t.Fatal(err)
	}
	want, err := r.live.chronicle.Entries(t.Context(), ShardOf("db"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	got, err := Restore(t.Context(), r.backupOf(), dir, r.clock.Now(), quiet)
	if err != nil || got.Files != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	r.store = openStore(t, dir)
	r.start()
	r.live.chronicle.dir = filepath.Join(dir, "audit")
	r.verifyAudit()
	have, err := r.live.chronicle.Entries(t.Context(), ShardOf("db"))
	if err != nil || len(have) < len(want) || have[0].Hash != want[0].Hash {
		t.Errorf("%d entries of %d, %v", len(have), len(want), err)
	}
}

func TestRestoreRefuses(t *testing.T) {
	r := newRig(t, processStyle(), "db")
	path := r.backupOf()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(content []byte) string {
		path := filepath.Join(t.TempDir(), "b.backup")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	flipped := slices.Clone(whole)
	flipped[len(flipped)/2] ^= 4
	for name, c := range map[string]struct {
		content []byte
		want    error
	}{
		"cut short":       {whole[:len(whole)-1], backup.ErrDamaged},
		"a flipped bit":   {flipped, backup.ErrDamaged},
		"another version": {bytes.Replace(whole, []byte("backup 1"), []byte("backup 7"), 1), backup.ErrVersion},
		"something else":  {[]byte("PK"), backup.ErrForeign},
		"a way out":       {foreign(t, true, "audit/../../x"), backup.ErrDamaged},
		"a later kind":    {foreign(t, false, root+"wormhole/x"), nil},
	} {
		dir := t.TempDir()
		_, err := Restore(t.Context(), write(c.content), dir, time.Now(), quiet)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line that says %v", name, err, c.want)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: %v is left", name, left)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), path, dir, time.Now(), quiet); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("into a directory in use: %v", err)
	}
}

// foreign is a whole backup of one thing.
func foreign(t *testing.T, file bool, name string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := backup.NewWriter(&out, backup.Header{})
	if file {
		_ = w.File(name, nil)
	} else {
		st := openStore(t, t.TempDir())
		if _, err := st.Commit(t.Context(), store.Txn{Ops: []store.Op{{Key: name, Value: []byte("{}")}}}); err != nil {
			t.Fatal(err)
		}
		_ = w.Store(t.Context(), st, root)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
