package volume

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"relight/internal/core/fleet"
)

const recordVersion = 1

// record is the content of the epoch file.
type record struct {
	Version     int         `json:"version"`
	Server      string      `json:"server"`
	Epoch       fleet.Epoch `json:"epoch"`
	SealedBelow fleet.Epoch `json:"sealedBelow"` // every epoch <= this one is sealed
	SealedAt    time.Time   `json:"sealedAt,omitzero"`
	Sum         string      `json:"sum"`
}

func (r record) sum() string {
	r.Sum = ""
	b, _ := json.Marshal(r) // a struct of plain fields cannot fail
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func (r record) encode() []byte {
	r.Version = recordVersion
	r.Sum = r.sum()
	b, _ := json.Marshal(r)
	return append(b, '\n')
}

// decode accepts only the exact bytes that encode makes, so that any torn or
// flipped byte is found.
func decode(b []byte) (record, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return record{}, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	if r.Version != recordVersion {
		return record{}, fmt.Errorf("%w: version %d is not %d", ErrCorrupt, r.Version, recordVersion)
	}
	if !bytes.Equal(b, r.encode()) {
		return record{}, fmt.Errorf("%w: checksum does not match", ErrCorrupt)
	}
	return r, nil
}

// readRecord reads the epoch file of an existing record directory.
func readRecord(meta string) (record, error) {
	path := filepath.Join(meta, epochName)
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		// The directory is put in place with both files in it, so a missing one
		// was taken away.
		return record{}, fmt.Errorf("%s: %w: file is missing", path, ErrCorrupt)
	}
	if err != nil {
		return record{}, fmt.Errorf("%w: %v", ErrUnreachable, err)
	}
	r, err := decode(b)
	if err != nil {
		return record{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// writeRecord replaces the epoch file durably and reads it back.
func writeRecord(meta string, r record) error {
	path := filepath.Join(meta, epochName)
	if err := writeDurably(path+".new", r.encode()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	if err := syncDir(meta); err != nil {
		return err
	}
	got, err := readRecord(meta)
	if err != nil {
		return err
	}
	if !bytes.Equal(got.encode(), r.encode()) {
		return fmt.Errorf("%s: %w: reads back differently", path, ErrCorrupt)
	}
	return nil
}

func writeDurably(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Sync()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}
