package store

import "fmt"

// Limits of one transaction, the same for every engine so that code that works
// against one works against all.
const (
	// MaxOps is the highest number of Ops, and of Compares.
	MaxOps = 1024
	// MaxTxnBytes bounds the sum of all keys and values of the Ops.
	MaxTxnBytes = 8 << 20
)

// Check returns an error that wraps ErrInvalid if no engine would take the
// transaction. Engines call it first.
func (t Txn) Check() error {
	if len(t.Ops) > MaxOps || len(t.Compares) > MaxOps {
		return fmt.Errorf("%w: %d ops and %d compares, at most %d of each",
			ErrInvalid, len(t.Ops), len(t.Compares), MaxOps)
	}
	for _, c := range t.Compares {
		if c.Key == "" || c.Rev < 0 {
			return fmt.Errorf("%w: compare %q at revision %d", ErrInvalid, c.Key, c.Rev)
		}
	}
	size := 0
	seen := make(map[string]bool, len(t.Ops))
	for _, op := range t.Ops {
		switch {
		case op.Key == "":
			return fmt.Errorf("%w: empty key", ErrInvalid)
		case seen[op.Key]:
			return fmt.Errorf("%w: key %q appears twice", ErrInvalid, op.Key)
		case op.Delete && (len(op.Value) > 0 || op.Lease != 0):
			return fmt.Errorf("%w: delete of %q carries a value or lease", ErrInvalid, op.Key)
		}
		seen[op.Key] = true
		size += len(op.Key) + len(op.Value)
	}
	if size > MaxTxnBytes {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrInvalid, size, MaxTxnBytes)
	}
	return nil
}
