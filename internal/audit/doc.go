// Package audit makes the journal its own audit log: the intent that is
// journaled before an effect is the entry, and each entry's hash covers the one
// before it, so that nobody can edit, drop, insert or reorder one unseen.
//
// There is one hash chain per shard. A Checkpoint joins the heads of all shards
// and is chained itself, so that cutting off the newest entries of a shard shows
// too, to whoever kept a newer checkpoint. Closed stretches of a chain go to
// checksummed segment files, after which the store may forget them.
//
// A hash shows that something was changed, not who changed it: whoever can
// rewrite the store, the segments and every copy of the newest checkpoint can
// write a new history. Keep a copy of the checkpoints elsewhere.
//
// What writes (Append, Next, WriteSegment) and what verifies (the files
// verify*.go) share the types and nothing else, so that a mistake in the one is
// found by the other.
package audit
