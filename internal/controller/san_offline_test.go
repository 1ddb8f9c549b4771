package controller_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"relight/internal/array"
	"relight/internal/core/fleet"
)

// sticky is an array's tool that ends no session for as long as the file is there, and
// says that it did.
const sticky = `#!/bin/sh
case "$*" in
*"--op delete --mode conn"*) [ ! -e %q ] || { echo "$*" >> %[1]q; exit 0; } ;;
esac
exec %q "$@"
`

// stickSessions puts such a tool before the real one, for this test.
func stickSessions(t *testing.T) (stuck string) {
	t.Helper()
	dir := t.TempDir()
	stuck = filepath.Join(dir, "stuck")
	real, err := exec.LookPath("tgtadm")
	must(t, err)
	must(t, os.WriteFile(stuck, nil, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "tgtadm"), fmt.Appendf(nil, sticky, stuck, real), 0o700)) //nolint:gosec // it is run
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return stuck
}

// TestLUNOffLineAsTheLastResort is the whole way of lunOffline: lastResort with a real
// controller and a real target. The session of a silent host's initiator stays listed
// though it is killed again and again, so that the ordinary fence cannot be shown: the LUN
// is taken from it, the proof says so, and the next epoch writes on beside that session.
// Once the array ends sessions again nothing of the old epoch is left there, nothing that
// was acknowledged is lost, and none of the old epoch's lands.
func TestLUNOffLineAsTheLastResort(t *testing.T) {
	g := newTarget(t)
	stuck := stickSessions(t)
	must(t, array.CreateFile(g.dir, array.LUN{Name: "db-1-data", Bytes: 64 << 20}))
	log := logOf(t)
	c := startController(t, log)
	book := newLedger()
	machines, dirs, stops := map[string]*initiators{}, map[string]string{}, map[string]func(){}
	for _, name := range []string{"host-1", "host-2"} {
		machines[name], dirs[name] = newInitiators(book), t.TempDir()
		machines[name].clings = true
		t.Cleanup(machines[name].close)
		stops[name] = c.join(t, name, dirs[name], machines[name], log)
	}
	c.apply(t, strings.Replace(fmt.Sprintf(sanYAML, g.portal, g.dir, g.control), "driver: tgt,", "driver: tgt, lunOffline: lastResort,", 1))

	first := c.healthy(t, 1)
	writes(t, book, 1, 50)
	stops[first]()
	if second := c.healthy(t, 2); second == first {
		t.Fatalf("epoch 2 is on %s again", second)
	}
	ended := book.of(1)
	writes(t, book, 2, 50)
	c.wantOffline(t)
	if asked, err := os.ReadFile(stuck); err != nil || len(bytes.TrimSpace(asked)) == 0 {
		t.Errorf("no session was to be ended before the LUN was taken: %q, %v", asked, err)
	}
	if shows := g.shows(t); !strings.Contains(shows, "Initiator: iqn.2026-01.local.relight.san-1:db-1.e1") {
		t.Errorf("epoch 1 has no session any more, so that nothing was tried here:\n%s", shows)
	}

	must(t, os.Remove(stuck))
	eventually(t, "nothing of epoch 1 is left in the array", func() error {
		if shows := g.shows(t); strings.Contains(shows, ":db-1.e1") {
			return fmt.Errorf("it shows\n%s", shows)
		}
		return nil
	})
	writes(t, book, 2, 50)
	c.join(t, first, dirs[first], machines[first], log)
	eventually(t, "the old epoch is ended when its host is back", func() error {
		for _, i := range machines[first].Instances() {
			if i.State != fleet.InstanceReaped {
				return fmt.Errorf("epoch %d is %s", i.Epoch, i.State)
			}
		}
		return nil
	})
	writes(t, book, 2, 20)
	if last := book.of(1); last != ended {
		t.Errorf("epoch 1 got record %d acknowledged after epoch 2 had begun (%d)", last, ended)
	}
	for _, m := range machines {
		m.close()
	}
	book.check(t, array.FilePath(g.dir, "db-1-data"))
	t.Logf("%d records, the first %d by epoch 1", book.of(2), ended)
}

// wantOffline asks for a proof of epoch 1 that stands on its LUN.
func (c control) wantOffline(t *testing.T) {
	t.Helper()
	why, err := c.Why(t.Context(), "db-1")
	must(t, err)
	for _, e := range why.Status.Evidence {
		if e.Method == fleet.InitiatorRemoved && e.Epoch == 1 && e.Offline && strings.Contains(e.Detail, "LUNs off line with no command inside, 1 sessions still listed") {
			return
		}
	}
	t.Errorf("epoch 1 was not proved dead by its LUN: %+v", why.Status.Evidence)
}

// shows is all that the target lists.
func (g *target) shows(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("tgtadm", "-C", g.control, "--lld", "iscsi", "--op", "show", "--mode", "target").Output()
	must(t, err)
	return string(out)
}
