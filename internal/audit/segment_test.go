package audit_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"relight/internal/audit"
)

func write(t *testing.T, dir string, shard int, entries []audit.Entry) string {
	t.Helper()
	path, err := audit.WriteSegment(dir, shard, entries)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSegmentRoundTrip(t *testing.T) {
	dir := t.TempDir()
	entries, heads := chain(t, 4, 9)
	path := write(t, dir, 4, entries[2:7])
	s, err := audit.ReadSegment(path)
	if err != nil {
		t.Fatal(err)
	}
	if s.From != heads[2] || s.To != heads[7] || len(s.Entries) != 5 || string(s.Entries[4].Encode()) != string(entries[6].Encode()) {
		t.Errorf("read back %+v", s)
	}
	if again := write(t, dir, 4, entries[2:7]); again != path {
		t.Errorf("the same segment became %s, was %s", again, path)
	}
	if _, err := audit.WriteSegment(dir, 4, entries[2:8]); !errors.Is(err, audit.ErrSegmentExists) {
		t.Errorf("a longer segment in its place: %v", err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("files left over: %v", files)
	}
}

func TestWriteSegmentRefuses(t *testing.T) {
	entries, _ := chain(t, 4, 5)
	if _, err := audit.WriteSegment(t.TempDir(), 4, nil); err == nil {
		t.Error("an empty segment was written")
	}
	var bad *audit.BadEntryError
	if _, err := audit.WriteSegment(t.TempDir(), 4, append(entries[:2:2], entries[3:]...)); !errors.As(err, &bad) {
		t.Errorf("a broken chain was written: %v", err)
	}
	if _, err := audit.WriteSegment(t.TempDir(), 5, entries); !errors.As(err, &bad) {
		t.Errorf("entries of another shard were written: %v", err)
	}
	if _, err := audit.WriteSegment(filepath.Join(t.TempDir(), "absent"), 4, entries); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestEveryChangeOfASegmentIsFound(t *testing.T) {
	entries, _ := chain(t, 4, 6)
	path := write(t, t.TempDir(), 4, entries)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		changed := editByte(r, content)
		if r.IntN(4) == 0 {
			changed = content[:r.IntN(len(content))]
		}
		if string(changed) == string(content) {
			continue
		}
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := audit.ReadSegment(path); err == nil {
			t.Fatalf("not found:\n%s\n%s", content, changed)
		}
	}
}

func TestVerifyDir(t *testing.T) {
	first, heads1 := chain(t, 1, 12)
	second, heads2 := chain(t, 2, 12)
	longer, _ := chain(t, 1, 12)
	heads := []audit.Head{heads1[12], heads2[12], audit.Genesis(3)}
	var dir string
	for name, c := range map[string]struct {
		harm    func() error
		heads   []audit.Head
		anchors []audit.Head
		fails   bool
	}{
		"whole":          {harm: func() error { return nil }, heads: heads, anchors: []audit.Head{heads1[2], heads1[4], heads1[11], heads2[5]}},
		"foreign files":  {harm: func() error { return os.WriteFile(filepath.Join(dir, ".segment-123"), []byte("x"), 0o600) }, heads: heads},
		"dropped first":  {harm: func() error { return os.Remove(filepath.Join(dir, audit.SegmentName(1, 1))) }, heads: heads, fails: true},
		"dropped middle": {harm: func() error { return os.Remove(filepath.Join(dir, audit.SegmentName(1, 5))) }, heads: heads, fails: true},
		"swapped names": {harm: func() error {
			return os.Rename(filepath.Join(dir, audit.SegmentName(2, 1)), filepath.Join(dir, audit.SegmentName(1, 1)))
		}, heads: heads, fails: true},
		"renamed": {harm: func() error {
			return os.Rename(filepath.Join(dir, audit.SegmentName(1, 1)), filepath.Join(dir, audit.SegmentName(1, 0)))
		}, heads: heads, fails: true},
		"overlap":          {harm: func() error { _, err := audit.WriteSegment(dir, 1, longer[6:9]); return err }, heads: heads, fails: true},
		"rolled back":      {harm: func() error { return nil }, heads: []audit.Head{heads1[8], heads2[12]}, fails: true},
		"other head":       {harm: func() error { return nil }, heads: []audit.Head{{Shard: 1, Seq: 9, Hash: heads2[9].Hash}}, fails: true},
		"anchor not met":   {harm: func() error { return nil }, heads: heads, anchors: []audit.Head{{Shard: 1, Seq: 6, Hash: heads2[6].Hash}}, fails: true},
		"anchor past head": {harm: func() error { return nil }, heads: []audit.Head{heads1[10]}, anchors: []audit.Head{heads1[11]}, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir = t.TempDir()
			write(t, dir, 1, first[:4])
			write(t, dir, 1, first[4:7])
			write(t, dir, 1, first[7:9])
			write(t, dir, 2, second[:5])
			if err := c.harm(); err != nil {
				t.Fatal(err)
			}
			tails, err := audit.VerifyDir(dir, c.heads, c.anchors...)
			if (err != nil) != c.fails {
				t.Fatalf("got %v", err)
			}
			if err == nil && (tails[0] != heads1[9] || tails[1] != heads2[5] || tails[2] != audit.Genesis(3)) {
				t.Errorf("tails %v", tails)
			}
		})
	}
}

func TestMissingLastSegmentShowsInTheStore(t *testing.T) {
	dir := t.TempDir()
	entries, heads := chain(t, 1, 8)
	write(t, dir, 1, entries[:3])
	// The segment of entries 4 to 6 is gone, the store compacted them.
	tails, err := audit.VerifyDir(dir, heads[8:])
	if err != nil {
		t.Fatal(err)
	}
	var bad *audit.BadEntryError
	err = audit.Verify(audit.Each(entries[6:]), tails[0], heads[8])
	if !errors.As(err, &bad) || bad.Seq != 4 || bad.Fault != audit.Dropped {
		t.Errorf("got %v", err)
	}
}
