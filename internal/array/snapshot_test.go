package array

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func free() error { return nil }

// lunFile makes a small LUN with a text.
func lunFile(t *testing.T, text string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := CreateFile(dir, LUN{Name: "data", Bytes: 8192}); err != nil {
		t.Fatal(err)
	}
	scribble(t, dir, text)
	return dir
}

func scribble(t *testing.T, dir, text string) {
	t.Helper()
	f, err := os.OpenFile(FilePath(dir, "data"), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt([]byte(text), 4096)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A LUN for which there is no second room is refused before a byte is copied, with
// both numbers, and nothing is left behind. The file has holes, so that any disk is
// too small for it.
func TestSnapshotWithoutRoom(t *testing.T) {
	dir := t.TempDir()
	path := FilePath(dir, "data")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 8<<40)); err != nil {
		t.Skipf("SKIPPED: no file with holes here: %v", err)
	}
	_, err := SnapshotFile(t.Context(), dir, "data", "relight-db-e1", free)
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "are needed") {
		t.Fatalf("%v, want that the array is full", err)
	}
	if names, _ := filepath.Glob(dir + "/*"); len(names) != 1 {
		t.Errorf("left: %v", names)
	}
}

// What a controller that died in the middle has left is removed; its half is never
// taken for a snapshot.
func TestSnapshotAfterACrash(t *testing.T) {
	dir := lunFile(t, "as epoch 1 left it")
	half := FilePath(dir, "data.relight-db-e1") + newSuffix + "123"
	if err := os.WriteFile(half, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if list, err := SnapshotFiles(dir, "data"); err != nil || len(list) != 0 {
		t.Fatalf("half a snapshot is listed: %v, %v", list, err)
	}
	s, err := SnapshotFile(t.Context(), dir, "data", "relight-db-e1", free)
	if err != nil || s.Bytes != 8192 {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, err := os.Stat(half); err == nil {
		t.Error("the half is still there")
	}
}

// A controller that stood still while it copied, and goes on after the next epoch was
// let in, leaves no snapshot: it would be of no one moment.
func TestSnapshotOfWhatIsWrittenTo(t *testing.T) {
	for name, disturb := range map[string]func(dir string) error{
		"it was written to": func(dir string) error {
			return os.Chtimes(FilePath(dir, "data"), time.Time{}, time.Now().Add(time.Second))
		},
		"an epoch has a map": func(string) error { return ErrMapped },
	} {
		dir, asked := lunFile(t, "as epoch 1 left it"), 0
		_, err := SnapshotFile(t.Context(), dir, "data", "relight-db-e1", func() error {
			if asked++; asked == 1 {
				return nil
			}
			return disturb(dir)
		})
		if !errors.Is(err, ErrMapped) {
			t.Errorf("%s: %v", name, err)
		}
		if names, _ := filepath.Glob(dir + "/*"); len(names) != 1 {
			t.Errorf("%s left %v", name, names)
		}
	}
}

// A snapshot of an earlier server of the same name is not passed off as today's.
func TestSnapshotOfAnEarlierLife(t *testing.T) {
	dir := lunFile(t, "long ago")
	if _, err := SnapshotFile(t.Context(), dir, "data", "relight-db-e1", free); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(FilePath(dir, "data"), time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := SnapshotFile(t.Context(), dir, "data", "relight-db-e1", free); !errors.Is(err, ErrConflict) {
		t.Errorf("%v, want a conflict", err)
	}
}

func TestRestoreFile(t *testing.T) {
	dir := lunFile(t, "as epoch 1 left it")
	if _, err := SnapshotFile(t.Context(), dir, "data", "relight-db-e1", free); err != nil {
		t.Fatal(err)
	}
	scribble(t, dir, "as epoch 2 spoilt it")
	if err := RestoreFile(t.Context(), dir, "data", "relight-db-e1", func() error { return ErrMapped }); !errors.Is(err, ErrMapped) {
		t.Errorf("restored under a map: %v", err)
	}
	if err := RestoreFile(t.Context(), dir, "data", "relight-db-e1", free); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(FilePath(dir, "data"))
	if err != nil || string(data[4096:4096+18]) != "as epoch 1 left it" {
		t.Errorf("%q, %v", data[4096:4128], err)
	}
	if names, _ := filepath.Glob(dir + "/*"); len(names) != 2 {
		t.Errorf("left: %v", names)
	}
}
