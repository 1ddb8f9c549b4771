package power

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Whoever may not switch any more switches nothing: the host may have been switched on for
// the next epoch since.
func TestSwitchAsksForLeaveEachTime(t *testing.T) {
	d, dir := device(t, `echo $action >>$dir/calls; exit 1`)
	asked, over := 0, errors.New("the lease has ended")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := SwitchIf(ctx, single(d), func(context.Context) error {
		if asked++; asked > 1 {
			return over
		}
		return nil
	})
	calls, _ := os.ReadFile(filepath.Join(dir, "calls"))
	offs := 0
	for _, b := range string(calls) {
		if b == 'o' { // of "off"
			offs++
		}
	}
	if !errors.Is(err, over) || offs != 1 {
		t.Errorf("%d times told to switch off: %v", offs, err)
	}
}
