package etcd

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
)

// logState is what the rest of the check needs to know of the write-ahead log.
type logState struct {
	exists    bool
	last      uint64   // index of the last entry
	commit    uint64   // highest index that the log itself calls committed
	snapshots []uint64 // indexes of the snapshots that it mentions
}

// checkLog reads the write-ahead log. Its records form one chain of checksums, so
// that a flipped bit in one is seen; but etcd takes a record that can't be read
// for one that a crash has torn, and drops it with all that follow. So what
// follows is searched for the proof that the dropped entries were acknowledged.
func checkLog(ctx context.Context, dir string) (logState, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil || len(names) == 0 {
		return logState{}, err
	}
	slices.Sort(names)
	state := logState{exists: true}
	crc := uint32(0)
	for i, name := range names {
		if err := ctx.Err(); err != nil {
			return state, err
		}
		var seq, first uint64
		if _, err := fmt.Sscanf(filepath.Base(name), "%016x-%016x.wal", &seq, &first); err != nil {
			return state, bad("%s: the name is not that of a log file", name)
		}
		if i > 0 && !follows(names[i-1], seq) {
			return state, bad("%s: the log file before it is gone", name)
		}
		if err := state.read(name, i == 0, i == len(names)-1, &crc); err != nil {
			return state, fmt.Errorf("%s: %w", name, err)
		}
	}
	if state.commit > state.last {
		return state, bad("%s: entry %d was committed, but the log ends at %d", dir, state.commit, state.last)
	}
	return state, nil
}

func follows(before string, seq uint64) bool {
	var s, i uint64
	_, err := fmt.Sscanf(filepath.Base(before), "%016x-%016x.wal", &s, &i)
	return err == nil && s+1 == seq
}

// read reads one file; crc carries the chain from file to file.
func (s *logState) read(name string, first, last bool, crc *uint32) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	decoder := wal.NewDecoder(fileutil.NewFileReader(file))
	var rec walpb.Record
	for n := 0; ; n++ {
		at := decoder.LastOffset()
		err := decoder.Decode(&rec)
		switch {
		case errors.Is(err, io.EOF), last && errors.Is(err, io.ErrUnexpectedEOF):
			*crc = decoder.LastCRC()
			if n == 0 {
				return bad("the file has no records")
			}
			return s.checkRest(file, at)
		case err != nil:
			return bad("record at byte %d: %w", at, err)
		case (n == 0) != (rec.GetType() == wal.CrcType):
			return bad("record at byte %d: type %d is out of place", at, rec.GetType())
		case n == 0:
			if !first && rec.GetCrc() != *crc {
				return bad("the file does not go on where the one before ends")
			}
			decoder.UpdateCRC(rec.GetCrc())
		default:
			if err := s.note(&rec); err != nil {
				return bad("record at byte %d: %w", at, err)
			}
		}
	}
}

func (s *logState) note(rec *walpb.Record) error {
	switch rec.GetType() {
	case wal.EntryType:
		var entry raftpb.Entry
		if err := proto.Unmarshal(rec.Data, &entry); err != nil {
			return err
		}
		if s.last > 0 && entry.GetIndex() > s.last+1 {
			return bad("entry %d follows %d", entry.GetIndex(), s.last)
		}
		s.last = entry.GetIndex()
	case wal.StateType:
		var hard raftpb.HardState
		if err := proto.Unmarshal(rec.Data, &hard); err != nil {
			return err
		}
		s.commit = max(s.commit, hard.GetCommit())
	case wal.SnapshotType:
		var snapshot walpb.Snapshot
		if err := proto.Unmarshal(rec.Data, &snapshot); err != nil {
			return err
		}
		s.snapshots = append(s.snapshots, snapshot.GetIndex())
		s.last = max(s.last, snapshot.GetIndex())
	case wal.MetadataType:
	default:
		return bad("unknown type %d", rec.GetType())
	}
	return nil
}

// checkRest looks at the bytes after the last readable record. Zeros are space not
// yet used; anything else is either a write that a crash has torn, never
// acknowledged, or the lost end of the log. It is the latter if a later state
// record calls an entry committed that can no longer be read.
func (s *logState) checkRest(file *os.File, at int64) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	rest := make([]byte, max(0, info.Size()-at))
	if _, err := file.ReadAt(rest, at); err != nil && !errors.Is(err, io.EOF) {
		return bad("byte %d: %w", at, err)
	}
	for len(rest) > 0 && rest[len(rest)-1] == 0 {
		rest = rest[:len(rest)-1]
	}
	for ; len(rest) > 8; rest = rest[8:] { // records begin at multiples of 8
		before, size := frame(rest)
		if before == nil {
			continue
		}
		after, _ := frame(rest[size:])
		if after == nil || after.GetType() != wal.StateType ||
			crc32.Update(before.GetCrc(), crc32.MakeTable(crc32.Castagnoli), after.Data) != after.GetCrc() {
			continue
		}
		var hard raftpb.HardState
		if err := proto.Unmarshal(after.Data, &hard); err == nil && hard.GetCommit() > s.last {
			return bad("the record at byte %d can't be read, and entries %d to %d, which were committed, are after it",
				at, s.last+1, hard.GetCommit())
		}
	}
	return nil
}

// frame reads the record at the beginning of data, without its place in the
// chain of checksums; nil if there is none.
func frame(data []byte) (*walpb.Record, int) {
	if len(data) < 8 {
		return nil, 0
	}
	length := le.Uint64(data)
	size, flags := length&^(0xff<<56), byte(length>>56)
	pad := uint64(0)
	if flags != 0 {
		if flags&0xf8 != 0x80 {
			return nil, 0
		}
		pad = uint64(flags & 7)
	}
	// The end of data may have been cut where the padding, all zeros, begins.
	if size == 0 || size > uint64(len(data)-8) {
		return nil, 0
	}
	var rec walpb.Record
	if err := proto.Unmarshal(data[8:8+size], &rec); err != nil || rec.Type == nil || rec.Crc == nil {
		return nil, 0
	}
	return &rec, min(int(8+size+pad), len(data))
}

// checkSnapshots reads the snapshot files. One that can't be read is left to etcd,
// which takes an older one, unless the log says that it was complete.
func checkSnapshots(dir string, log logState) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.snap"))
	if err != nil {
		return err
	}
	for _, name := range names {
		var term, index uint64
		if _, err := fmt.Sscanf(filepath.Base(name), "%016x-%016x.snap", &term, &index); err != nil {
			return bad("%s: the name is not that of a snapshot", name)
		}
		if _, err := snap.Read(zap.NewNop(), name); err != nil && slices.Contains(log.snapshots, index) {
			return bad("%s: %w", name, err)
		}
	}
	return nil
}
