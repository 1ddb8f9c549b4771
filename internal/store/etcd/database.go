package etcd

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/server/v3/lease/leasepb"
	"google.golang.org/protobuf/proto"

	"relight/internal/store"
)

// databaseState is what the rest of the check needs to know of the database.
type databaseState struct {
	exists  bool
	applied uint64 // index of the last entry of the log that is in the database
}

// buckets that etcd keeps; a missing or unknown one is a flip in a name.
var bucketNames = []string{
	"alarm", "auth", "authRoles", "authUsers", "cluster", "key", "lease", "members", "members_removed", "meta",
}

// checkDatabase reads the whole database: its pages, the chain of revisions, and
// the envelope of every value, old revisions included.
func checkDatabase(ctx context.Context, path string) (databaseState, error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return databaseState{}, nil
	}
	if err != nil {
		return databaseState{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return databaseState{}, err
	}
	b, err := openBolt(ctx, file, info.Size())
	if err != nil {
		return databaseState{}, err
	}
	state := databaseState{exists: true}
	var names []string
	var meta map[string][]byte
	var leases map[int64]bool
	// The bucket "key" comes before "meta", which says from which revision on the
	// history must be whole. So the small buckets are read first, by themselves,
	// and the page marks are forgotten.
	err = b.buckets(func(name string, walk func(func(element) error) error) (err error) {
		names = append(names, name)
		switch name {
		case "meta":
			meta, err = readMeta(walk)
		case "lease":
			leases, err = readLeases(walk)
		}
		return err
	})
	if err != nil {
		return state, err
	}
	if len(names) == 0 {
		return state, nil // created, and never written
	}
	for _, name := range names {
		if !slices.Contains(bucketNames, name) {
			return state, bad("unknown bucket %q", name)
		}
	}
	if len(names) != len(bucketNames) && len(meta["consistent_index"]) > 0 {
		return state, bad("only the buckets %q are left", names)
	}
	clear(b.seen)
	chain := newChain(meta)
	err = b.buckets(func(name string, walk func(func(element) error) error) error {
		if name == "key" {
			return walk(chain.next)
		}
		return walk(func(element) error { return nil })
	})
	if err != nil {
		return state, err
	}
	if index := meta["consistent_index"]; len(index) == 8 {
		state.applied = binary.BigEndian.Uint64(index)
	}
	return state, chain.end(leases)
}

func readLeases(walk func(func(element) error) error) (map[int64]bool, error) {
	leases := map[int64]bool{}
	err := walk(func(e element) error {
		var l leasepb.Lease
		if err := proto.Unmarshal(e.value, &l); err != nil {
			return bad("lease %x: %w", e.key, err)
		}
		if len(e.key) != 8 || int64(binary.BigEndian.Uint64(e.key)) != l.ID || l.TTL <= 0 {
			return bad("lease %x: record says %x with TTL %d", e.key, l.ID, l.TTL)
		}
		leases[l.ID] = true
		return nil
	})
	return leases, err
}

func readMeta(walk func(func(element) error) error) (map[string][]byte, error) {
	known := map[string]int{ // sizes; 0: any
		"scheduledCompactRev": 17, "finishedCompactRev": 17, "consistent_index": 8, "term": 8,
		"confState": 0, "storageVersion": 0,
	}
	meta := map[string][]byte{}
	err := walk(func(e element) error {
		size, ok := known[string(e.key)]
		if !ok || size > 0 && len(e.value) != size {
			return bad("unexpected entry %q of %d bytes", e.key, len(e.value))
		}
		meta[string(e.key)] = slices.Clone(e.value)
		return nil
	})
	return meta, err
}

// chain follows the revisions in the bucket "key". Etcd gives every change the
// next number, and every put the version and creation of its key, so that above
// the last compaction no change can vanish from between two others, and no key
// or number can turn into another unseen.
type chain struct {
	compacted int64
	main, sub int64 // of the last entry
	keys      map[string]life
}

type life struct{ created, version, lease int64 }

func newChain(meta map[string][]byte) *chain {
	c := &chain{main: 1, keys: map[string]life{}}
	for _, name := range []string{"scheduledCompactRev", "finishedCompactRev"} {
		if v := meta[name]; len(v) == 17 {
			c.compacted = max(c.compacted, int64(binary.BigEndian.Uint64(v)))
		}
	}
	return c
}

func (c *chain) next(e element) error {
	deleted := len(e.key) == 18 && e.key[17] == 't'
	if len(e.key) != 17 && !deleted || e.key[8] != '_' {
		return bad("malformed revision %x", e.key)
	}
	main, sub := int64(binary.BigEndian.Uint64(e.key)), int64(binary.BigEndian.Uint64(e.key[9:]))
	if err := c.step(main, sub); err != nil {
		return err
	}
	var kv mvccpb.KeyValue
	if err := proto.Unmarshal(e.value, &kv); err != nil {
		return bad("revision %d.%d: %w", main, sub, err)
	}
	if len(kv.Key) == 0 || len(kv.ProtoReflect().GetUnknown()) > 0 || proto.Size(&kv) != len(e.value) {
		return bad("revision %d.%d: malformed record", main, sub)
	}
	if deleted {
		return c.drop(&kv, main, sub)
	}
	key := string(kv.Key)
	before, lived := c.keys[key]
	whole := main > c.compacted // all that came before is still here
	want := life{main, 1, kv.Lease}
	if lived {
		want = life{before.created, before.version + 1, kv.Lease}
	}
	got := life{kv.CreateRevision, kv.Version, kv.Lease}
	if kv.ModRevision != main || (lived || whole) && got != want || got.version < 1 || got.created > main {
		return bad("revision %d.%d: record of %q says revision %d, created %d, version %d",
			main, sub, key, kv.ModRevision, got.created, got.version)
	}
	c.keys[key] = got
	if _, err := store.Open(key, kv.Value); err != nil {
		return bad("revision %d.%d: %w", main, sub, err)
	}
	return nil
}

// drop takes a deleted key out of the chain.
func (c *chain) drop(kv *mvccpb.KeyValue, main, sub int64) error {
	key := string(kv.Key)
	_, lived := c.keys[key]
	delete(c.keys, key)
	if kv.ModRevision != 0 || kv.Version != 0 || len(kv.Value) > 0 || main > c.compacted && !lived {
		return bad("revision %d.%d: delete of %q, which was not there", main, sub, key)
	}
	return nil
}

// step checks that no revision is missing between the last one and this one.
func (c *chain) step(main, sub int64) error {
	last := max(c.main, c.compacted)
	switch {
	case main <= c.compacted && main >= c.main: // gaps are what compaction makes
	case main == c.main && sub == c.sub+1 && main > c.compacted:
	case main == last+1 && sub == 0:
	default:
		return bad("revision %d.%d follows %d.%d (compacted up to %d): changes are missing", main, sub, c.main, c.sub, c.compacted)
	}
	c.main, c.sub = main, sub
	return nil
}

// end checks that every lease which a key has still exists: etcd removes a lease
// together with its keys.
func (c *chain) end(leases map[int64]bool) error {
	for key, l := range c.keys {
		if l.lease != 0 && !leases[l.lease] {
			return bad("key %q has the lease %x, which is not there", key, l.lease)
		}
	}
	return nil
}
