package audit

import "fmt"

// The keys under which a store keeps a journal. Numbers are padded with zeros to
// the width of their largest value, so that the order of keys is the order of
// entries.

// Key is where entry seq of the shard's chain is stored.
func Key(shard int, seq uint64) string { return fmt.Sprintf("%s%020d", Prefix(shard), seq) }

// Prefix is what the keys of all entries of the shard's chain start with, and
// those of no other shard.
func Prefix(shard int) string { return fmt.Sprintf("audit/entry/%05d/", shard) }

// HeadKey is where the head of the shard's chain is stored.
func HeadKey(shard int) string { return fmt.Sprintf("audit/head/%05d", shard) }

// CheckpointKey is where checkpoint n is stored.
func CheckpointKey(n uint64) string { return fmt.Sprintf("audit/checkpoint/%020d", n) }
