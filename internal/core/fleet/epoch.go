package fleet

// Epoch numbers the instances of one server: 1, 2, 3 … It strictly rises and is
// never reused (invariant S3). Zero means that no instance was ever started.
type Epoch uint64

// Term numbers the reigns of controllers over a shard. Whoever executes a call
// refuses one with a lower term than the highest that it has seen (invariant S10).
type Term uint64
