package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrSegmentExists means that another segment of the shard starts with the same
// entry and holds other entries (more or fewer: a controller that died between
// writing and compacting). Read it, and compact what it holds.
var ErrSegmentExists = errors.New("segment exists with other content")

// header is the first line of a segment file.
type header struct {
	// Segment is the version of the file's form.
	Segment int `json:"relightSegment"`
	// From is the head before the first entry.
	From Head `json:"from"`
}

// footer is the last line of a segment file.
type footer struct {
	Count int `json:"count"`
	// Head is the head after the last entry.
	Head Head `json:"head"`
	// SHA256 is the sum of all bytes before the footer's line.
	SHA256 Hash `json:"sha256"`
}

// SegmentName is the file name of the segment whose first entry is seq.
func SegmentName(shard int, seq uint64) string {
	return fmt.Sprintf("shard-%05d-%020d.jsonl", shard, seq)
}

// WriteSegment writes consecutive entries of one shard to a new file in dir: a
// header, one line per entry, a footer with the count, the last hash and the
// SHA-256 of the content. When it returns nil the file and its name are on
// stable storage and were read back and verified, so that the store may forget
// the entries. The same entries may be written twice. It returns the file's path.
func WriteSegment(dir string, shard int, entries []Entry) (string, error) {
	if len(entries) == 0 {
		return "", fmt.Errorf("segment of shard %d: no entries", shard)
	}
	first, last := entries[0], entries[len(entries)-1]
	from := Head{Shard: shard, Seq: first.Seq - 1, Hash: first.Prev}
	// A broken chain must stay where it is for a person to look at.
	if err := Verify(Each(entries), from, Head{Shard: shard, Seq: last.Seq, Hash: last.Hash}); err != nil {
		return "", err
	}
	content, err := encodeSegment(from, entries)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, SegmentName(shard, first.Seq))
	if err := writeFile(path, content); err != nil {
		return "", fmt.Errorf("segment %s: %w", path, err)
	}
	if _, err := ReadSegment(path); err != nil {
		return "", err
	}
	return path, nil
}

func encodeSegment(from Head, entries []Entry) ([]byte, error) {
	head, err := json.Marshal(header{Segment: Version, From: from})
	if err != nil {
		return nil, fmt.Errorf("encode segment header: %w", err)
	}
	content := append(head, '\n')
	for _, e := range entries {
		content = append(append(content, e.Encode()...), '\n')
	}
	foot, err := json.Marshal(footer{Count: len(entries), Head: entries[len(entries)-1].Head(), SHA256: sha256.Sum256(content)})
	if err != nil {
		return nil, fmt.Errorf("encode segment footer: %w", err)
	}
	return append(append(content, foot...), '\n'), nil
}

// writeFile makes the file appear whole or not at all, also after power loss,
// and never over another one.
func writeFile(path string, content []byte) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".segment-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // a leftover is never read
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	// A rename would replace what is there; a link does not.
	if err := os.Link(tmp.Name(), path); err != nil {
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		there, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Equal(there, content) {
			return ErrSegmentExists
		}
	}
	return syncDir(dir)
}

// syncDir makes the names in dir survive power loss.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
