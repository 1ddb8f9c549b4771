package controller_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"relight/internal/api/client"
	"relight/internal/array"
)

// Another's file system lies on the LUN of a server that starts for the first time, as on
// that of one that is imported: it starts, and a person sees what was there, in the events
// and, for as long as the server is declared, in why.
func TestForeignFileSystemIsTold(t *testing.T) {
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		t.Skip("SKIPPED: needs mkfs.ext4 (apt-get install e2fsprogs)")
	}
	g := newTarget(t)
	must(t, array.CreateFile(g.dir, array.LUN{Name: "db-1-data", Bytes: 64 << 20}))
	file := array.FilePath(g.dir, "db-1-data")
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	log := logOf(t)
	c := startController(t, log)
	book := newLedger()
	m := newInitiators(book)
	t.Cleanup(m.close)
	c.join(t, "host-1", t.TempDir(), m, log)
	c.apply(t, fmt.Sprintf(sanYAML, g.portal, g.dir, g.control))
	c.healthy(t, 1)

	const found = "db-1-data holds ext2/3/4"
	c.recordsOfLUN(t, found, 1)
	told := func() []string {
		why, err := c.Why(t.Context(), "db-1")
		must(t, err)
		return client.NoteLines(why.Status)
	}
	is := func(line string) bool {
		return strings.HasPrefix(line, "seen at the attach of epoch 1 at ") && strings.HasSuffix(line, ": "+found)
	}
	if got := told(); !slices.ContainsFunc(got, is) {
		t.Errorf("why tells %q", got)
	}
	must(t, m.End(t.Context(), "db-1", 1))
	c.healthy(t, 2)
	if got := told(); len(got) != 1 || !is(got[0]) {
		t.Errorf("at epoch 2 why tells %q", got)
	}
}
