package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relight/internal/store"
	"relight/internal/store/backup"
	"relight/internal/store/mem"
)

var header = backup.Header{At: time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC), By: "v9"}

func sample(t *testing.T) []byte {
	t.Helper()
	st := mem.New(mem.Options{Now: time.Now})
	txn := store.Txn{Ops: []store.Op{{Key: "ours/1", Value: []byte("one")}, {Key: "ours/2", Value: nil}, {Key: "theirs/1", Value: []byte("x")}}}
	if _, err := st.Commit(t.Context(), txn); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := backup.NewWriter(&out, header)
	if err := errors.Join(w.Store(t.Context(), st, "ours/"), w.File("audit/a", bytes.Repeat([]byte("z"), 300)), w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestReadGivesWhatWasWritten(t *testing.T) {
	var got []backup.Item
	h, err := backup.Read(bytes.NewReader(sample(t)), func(i backup.Item) error {
		got = append(got, i)
		return nil
	})
	if err != nil || h != header {
		t.Fatalf("%+v, %v", h, err)
	}
	want := []backup.Item{
		{Name: "ours/1", Data: []byte("one")},
		{Name: "ours/2", Data: []byte{}},
		{File: true, Name: "audit/a", Data: bytes.Repeat([]byte("z"), 300)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEveryCutAndFlipIsSeen(t *testing.T) {
	whole := sample(t)
	for n := range whole {
		if _, err := backup.Verify(bytes.NewReader(whole[:n])); err == nil {
			t.Errorf("the first %d of %d bytes pass", n, len(whole))
		}
	}
	for bit := range len(whole) * 8 {
		whole[bit/8] ^= 1 << (bit % 8)
		_, err := backup.Verify(bytes.NewReader(whole))
		if !errors.Is(err, backup.ErrDamaged) && !errors.Is(err, backup.ErrForeign) && !errors.Is(err, backup.ErrVersion) {
			t.Errorf("bit %d: %v", bit, err)
		}
		whole[bit/8] ^= 1 << (bit % 8)
	}
	if _, err := backup.Verify(bytes.NewReader(append(whole, 0))); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("a byte too many: %v", err)
	}
}

func TestOthersAreToldApart(t *testing.T) {
	for text, want := range map[string]error{
		"":                    backup.ErrForeign,
		"hello\n":             backup.ErrForeign,
		"relight-backup 2\nx": backup.ErrVersion,
	} {
		if _, err := backup.Verify(bytes.NewReader([]byte(text))); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
}

// full takes so many bytes and no more.
type full struct{ left int }

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errors.New("full")
	}
	return len(p), nil
}

func TestWritersErrorSticks(t *testing.T) {
	st := mem.New(mem.Options{Now: time.Now})
	for i := range 100 {
		if _, err := st.Commit(context.Background(), store.Txn{Ops: []store.Op{{Key: fmt.Sprintf("k%d", i), Value: make([]byte, 4096)}}}); err != nil {
			t.Fatal(err)
		}
	}
	w := backup.NewWriter(&full{left: 100_000}, header)
	if err := w.Store(t.Context(), st, "k"); err == nil {
		t.Error("a full disk was not seen")
	}
	if err := w.Close(); err == nil {
		t.Error("the backup was closed as whole")
	}
}
