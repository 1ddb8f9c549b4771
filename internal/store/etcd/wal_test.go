package etcd

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"relight/internal/store"
)

// A log that was cut is what etcd repairs by forgetting; a torn last write is what
// it must still repair.
func TestLogEnd(t *testing.T) {
	dir, want := history(t)
	_, wal := memberFiles(t, dir)
	name, _ := filepath.Rel(dir, wal)
	data, err := os.ReadFile(wal)
	if err != nil {
		t.Fatal(err)
	}
	offsets := recordOffsets(data)
	t.Run("zeroed length in the middle", func(t *testing.T) {
		damaged := copyDir(t, dir)
		clear(data[offsets[len(offsets)/2]:][:8])
		writeSparse(t, filepath.Join(damaged, name), data)
		if !mustNotLie(t, damaged, "zeroed length", want) {
			t.Error("a log without its second half was accepted")
		}
	})
	t.Run("lost end", func(t *testing.T) {
		damaged := copyDir(t, dir)
		clear(data[offsets[len(offsets)/2]:])
		writeSparse(t, filepath.Join(damaged, name), data)
		if !mustNotLie(t, damaged, "lost end", want) {
			t.Error("a log that ends before the database was accepted")
		}
	})
	t.Run("torn write", func(t *testing.T) {
		damaged := copyDir(t, dir)
		path := filepath.Join(damaged, name)
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		torn := binary.LittleEndian.AppendUint64(nil, 4096)
		if _, err := file.WriteAt(append(torn, "begun, never finished"...), offsets[len(offsets)-1]); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		if mustNotLie(t, damaged, "torn write", want) {
			t.Error("a torn last write was refused")
		}
	})
}

// recordOffsets returns where each record of a log file begins, and the end.
func recordOffsets(data []byte) []int64 {
	offsets := []int64{0}
	for at := 0; ; {
		rec, size := frame(data[at:])
		if rec == nil {
			return offsets
		}
		at += size
		offsets = append(offsets, int64(at))
	}
}

func TestMissingFilesAreRefused(t *testing.T) {
	dir, want := history(t)
	db, wal := memberFiles(t, dir)
	for _, path := range []string{db, wal} {
		damaged := copyDir(t, dir)
		name, _ := filepath.Rel(dir, path)
		if err := os.Remove(filepath.Join(damaged, name)); err != nil {
			t.Fatal(err)
		}
		if !mustNotLie(t, damaged, "without "+name, want) {
			t.Errorf("a directory without %s was accepted", name)
		}
	}
}

// A crash leaves the database behind the log.
func TestCrashLosesNothing(t *testing.T) {
	dir := t.TempDir()
	s, err := openTest(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	// Taken before the commits: as far behind as a database can be.
	db, err := os.ReadFile(filepath.Join(dir, "member/snap/db"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for i := range 50 {
		key := fmt.Sprintf("k%d", i%7)
		want[key] = fmt.Sprint(i)
		if _, err := s.Commit(t.Context(), store.Txn{Ops: []store.Op{{Key: key, Value: []byte(want[key])}}}); err != nil {
			t.Fatal(err)
		}
	}
	crashed := copyDir(t, dir)
	writeSparse(t, filepath.Join(crashed, "member/snap/db"), db)
	damaged := copyDir(t, crashed)
	if mustNotLie(t, crashed, "after a crash", want) {
		t.Error("the directory after a crash was refused")
	}

	// Only later records of the log can vouch for what the database lacks.
	_, wal := memberFiles(t, damaged)
	data, err := os.ReadFile(wal)
	if err != nil {
		t.Fatal(err)
	}
	offsets := recordOffsets(data)
	clear(data[offsets[len(offsets)*3/4]:][:8])
	writeSparse(t, wal, data)
	if !mustNotLie(t, damaged, "log cut after a crash", want) {
		t.Error("a log that forgets committed entries was accepted")
	}
}
