package array

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"relight/internal/core/fence"
)

// Ensure has the LUNs of an epoch there before its map is made, and says for people what
// it made and what is there with another size. It makes what is not there only if it may,
// and for epoch 1 alone: in the place of a LUN that any epoch wrote to, an empty one would
// start the server without its data. What is there is used as it is; nothing is changed,
// and nothing is deleted, also what was made before another could not be. Errors:
// ErrNotFound (it is not made), ErrNoProof, and those of Create.
func Ensure(ctx context.Context, a Array, r Ref, proof fence.Proof, luns []LUN, may bool) ([]string, error) {
	var told []string
	for _, l := range luns {
		word, err := ensure(ctx, a, r, proof, l, may)
		if err != nil && len(told) > 0 {
			err = fmt.Errorf("%w; before that: %s", err, strings.Join(told, "; "))
		}
		if err != nil {
			return nil, err
		}
		if word != "" {
			told = append(told, word)
		}
	}
	return told, nil
}

func ensure(ctx context.Context, a Array, r Ref, proof fence.Proof, l LUN, may bool) (string, error) {
	is, err := a.LUN(ctx, l.Name)
	if err == nil {
		return differs(is, l), nil
	}
	if !errors.Is(err, ErrNotFound) {
		return "", err
	}
	switch {
	case r.Epoch != 1:
		return "", fmt.Errorf("LUN %s is not there, and none is made for epoch %d: on an empty one %s would start without its data; bring it back (or, if it never held any, make it with %s), and then: relight heal %s --rung relaunch: %w", l.Name, r.Epoch, r.Server, Size(l.Bytes), r.Server, ErrNotFound)
	case !may:
		return "", fmt.Errorf("LUN %s is not there, and epoch %d of %s had its LUNs already: none is made in its place: %w", l.Name, r.Epoch, r.Server, ErrNotFound)
	case !proof.Covers(r.Server, r.Epoch):
		return "", fmt.Errorf("LUN %s for %s epoch %d: %w", l.Name, r.Server, r.Epoch, ErrNoProof)
	}
	err = a.Create(ctx, l)
	if errors.Is(err, ErrConflict) { // somebody else made it meanwhile
		if is, err = a.LUN(ctx, l.Name); err == nil {
			return differs(is, l), nil
		}
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("LUN %s of %s was not there and was made", l.Name, Size(l.Bytes)), nil
}

// differs says that a LUN has not the size that was declared, or is empty.
func differs(is, l LUN) string {
	if is.Bytes == l.Bytes {
		return ""
	}
	return fmt.Sprintf("LUN %s has %s, not %s, and is left as it is", l.Name, Size(is.Bytes), Size(l.Bytes))
}

// Size writes a number of bytes for people, exactly.
func Size(bytes int64) string {
	const gib = 1 << 30
	if bytes%gib == 0 {
		return fmt.Sprintf("%d GiB", bytes/gib)
	}
	return fmt.Sprintf("%d bytes", bytes)
}
