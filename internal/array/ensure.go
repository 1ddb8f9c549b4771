package array

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"relight/internal/core/fence"
)

// Roomer is an Array that knows how many bytes of new LUNs it can hold now.
type Roomer interface {
	Room(ctx context.Context) (int64, error)
}

// Ensure has the LUNs of an epoch there before its map is made, and says for people what
// it made and what is there with another size. It makes what is not there only if it may,
// and for epoch 1 alone: in the place of a LUN that any epoch wrote to, an empty one would
// start the server without its data. All are looked at, and the array is asked whether
// all that are missing fit together, before the first is made: else one would be left that
// nobody uses. What is there is used as it is; nothing is changed, and nothing is deleted,
// also what was made before another could not be (somebody else took the room). Errors:
// ErrNotFound (it is not made), ErrNoProof, ErrFull, and those of Create.
func Ensure(ctx context.Context, a Array, r Ref, proof fence.Proof, luns []LUN, may bool) ([]string, error) {
	told, missing, err := lookAtAll(ctx, a, luns)
	if err != nil || len(missing) == 0 {
		return told, err
	}
	for _, l := range missing {
		if err := mayMake(r, proof, l, may); err != nil {
			return nil, err
		}
	}
	if err := fits(ctx, a, missing); err != nil {
		return nil, err
	}
	for _, l := range missing {
		word, err := create(ctx, a, l)
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

// lookAtAll says what is there with another size, and what is not there.
func lookAtAll(ctx context.Context, a Array, luns []LUN) (told []string, missing []LUN, err error) {
	for _, l := range luns {
		is, err := a.LUN(ctx, l.Name)
		switch {
		case errors.Is(err, ErrNotFound):
			missing = append(missing, l)
		case err != nil:
			return nil, nil, err
		case differs(is, l) != "":
			told = append(told, differs(is, l))
		}
	}
	return told, missing, nil
}

// mayMake refuses to make a LUN that is not there.
func mayMake(r Ref, proof fence.Proof, l LUN, may bool) error {
	switch {
	case r.Epoch != 1:
		return fmt.Errorf("LUN %s is not there, and none is made for epoch %d: on an empty one %s would start without its data; bring it back (or, if it never held any, make it with %s), and then: relight heal %s --rung relaunch: %w", l.Name, r.Epoch, r.Server, Size(l.Bytes), r.Server, ErrNotFound)
	case !may:
		return fmt.Errorf("LUN %s is not there, and epoch %d of %s had its LUNs already: none is made in its place: %w", l.Name, r.Epoch, r.Server, ErrNotFound)
	case !proof.Covers(r.Server, r.Epoch):
		return fmt.Errorf("LUN %s for %s epoch %d: %w", l.Name, r.Server, r.Epoch, ErrNoProof)
	}
	return nil
}

// fits refuses LUNs that do not fit together, where the array can tell. One alone is
// refused by Create as well.
func fits(ctx context.Context, a Array, missing []LUN) error {
	roomer, ok := a.(Roomer)
	if !ok || len(missing) < 2 {
		return nil
	}
	room, err := roomer.Room(ctx)
	if err != nil {
		return fmt.Errorf("room for %d LUNs: %w", len(missing), err)
	}
	var names []string
	left := room
	for _, l := range missing {
		names = append(names, fmt.Sprintf("%s (%s)", l.Name, Size(l.Bytes)))
		if left -= l.Bytes; left < 0 {
			return fmt.Errorf("there is room for %d bytes, too little for the LUNs %s; none was made: %w", room, strings.Join(names, ", "), ErrFull)
		}
	}
	return nil
}

// create makes a LUN and says so.
func create(ctx context.Context, a Array, l LUN) (string, error) {
	err := a.Create(ctx, l)
	if errors.Is(err, ErrConflict) { // somebody else made it meanwhile
		var is LUN
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
