package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Segment is a closed stretch of one shard's chain, as read from its file.
type Segment struct {
	From, To Head
	Entries  []Entry
}

// ReadSegment reads a segment file and verifies it: its checksum, its count and
// its chain. Errors wrap ErrMalformed or are *BadEntryErrors.
func ReadSegment(path string) (Segment, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return Segment{}, fmt.Errorf("read segment: %w", err)
	}
	s, err := decodeSegment(content)
	if err != nil {
		return Segment{}, fmt.Errorf("segment %s: %w", path, err)
	}
	return s, nil
}

func decodeSegment(content []byte) (Segment, error) {
	body, ok := bytes.CutSuffix(content, []byte("\n"))
	cut := bytes.LastIndexByte(body, '\n') + 1
	if !ok || cut == 0 {
		return Segment{}, fmt.Errorf("%w: the footer is missing", ErrMalformed)
	}
	var foot footer
	if err := decodeLine(body[cut:], &foot); err != nil {
		return Segment{}, fmt.Errorf("footer: %w", err)
	}
	if sum := Hash(sha256.Sum256(content[:cut])); sum != foot.SHA256 {
		return Segment{}, fmt.Errorf("%w: the content has SHA-256 %s, the footer says %s", ErrMalformed, sum, foot.SHA256)
	}
	lines := bytes.Split(content[:cut-1], []byte("\n"))
	var head header
	if err := decodeLine(lines[0], &head); err != nil {
		return Segment{}, fmt.Errorf("header: %w", err)
	}
	if head.Segment != Version {
		return Segment{}, fmt.Errorf("%w: version %d is not known", ErrMalformed, head.Segment)
	}
	lines = lines[1:]
	if len(lines) != foot.Count {
		return Segment{}, fmt.Errorf("%w: %d entries, the footer says %d", ErrMalformed, len(lines), foot.Count)
	}
	s := Segment{From: head.From, To: foot.Head, Entries: make([]Entry, 0, len(lines))}
	for i, line := range lines {
		e, err := DecodeEntry(line)
		if err != nil {
			return Segment{}, fmt.Errorf("line %d: %w", i+2, err)
		}
		s.Entries = append(s.Entries, e)
	}
	return s, Verify(Each(s.Entries), s.From, s.To)
}

// decodeLine reads one line of JSON and refuses any other form of the same value.
func decodeLine[T any](line []byte, into *T) error {
	if err := json.Unmarshal(line, into); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	again, err := json.Marshal(into)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, line) {
		return fmt.Errorf("%w: not in its one form", ErrMalformed)
	}
	return nil
}

// VerifyDir verifies all segments in dir against the shards' present heads and
// the anchors: each file whole, each shard's chain unbroken from its first entry
// on. It returns one tail per head, in the same order: the head after the last
// segment, from which on the store holds the entries. Verify those from the
// tail to the head; a missing last segment shows there, as a dropped entry.
func VerifyDir(dir string, heads []Head, anchors ...Head) ([]Head, error) {
	tails := make([]Head, 0, len(heads))
	for _, head := range heads {
		tail, err := verifyShard(dir, head, anchors)
		if err != nil {
			return nil, err
		}
		tails = append(tails, tail)
	}
	return tails, nil
}

func verifyShard(dir string, head Head, anchors []Head) (Head, error) {
	files, err := os.ReadDir(dir) // sorted by name, hence by number
	if err != nil {
		return Head{}, fmt.Errorf("list segments: %w", err)
	}
	anchors = append(slices.Clone(anchors), head)
	tail := Genesis(head.Shard)
	for _, f := range files {
		var shard int
		var seq uint64
		if n, _ := fmt.Sscanf(f.Name(), "shard-%d-%d.jsonl", &shard, &seq); n != 2 || shard != head.Shard {
			continue
		}
		s, err := ReadSegment(filepath.Join(dir, f.Name()))
		if err != nil {
			return Head{}, err
		}
		if want := SegmentName(s.From.Shard, s.From.Seq+1); f.Name() != want {
			return Head{}, fmt.Errorf("segment %s: %w: by its content it is %s", f.Name(), ErrMalformed, want)
		}
		within := slices.DeleteFunc(slices.Clone(anchors), func(a Head) bool { return a.Seq > s.To.Seq })
		if err := Verify(Each(s.Entries), tail, s.To, within...); err != nil {
			return Head{}, fmt.Errorf("segment %s: %w", f.Name(), err)
		}
		tail = s.To
	}
	for _, a := range append(anchors, tail) {
		if a.Shard == head.Shard && a.Seq > head.Seq {
			return Head{}, &BadEntryError{head.Shard, head.Seq + 1, RolledBack, fmt.Sprintf("entry %d was seen in a segment or a checkpoint", a.Seq)}
		}
	}
	return tail, nil
}
