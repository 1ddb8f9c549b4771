package controller_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"relight/internal/api/client"
	"relight/internal/array"
)

// TestOP_CLEAN_Orphans deletes a server that runs, with a real controller, a real agent
// and a real iSCSI target: what is left of it is listed, nobody ends it, its document
// takes it back, and the commands that are listed leave nothing.
func TestOP_CLEAN_Orphans(t *testing.T) {
	if _, err := exec.LookPath("tgt-admin"); err != nil {
		t.Skip("SKIPPED: needs tgt-admin (Debian package tgt)")
	}
	g := newTarget(t)
	must(t, array.CreateFile(g.dir, array.LUN{Name: "db-1-data", Bytes: 64 << 20}))
	log := logOf(t)
	c := startController(t, log)
	book := newLedger()
	machines := newInitiators(book)
	t.Cleanup(machines.close)
	stop := c.join(t, "host-1", t.TempDir(), machines, log)
	text := fmt.Sprintf(sanYAML, g.portal, g.dir, g.control)
	c.apply(t, text)
	c.healthy(t, 1)
	writes(t, book, 1, 5)
	c.orphans(t, nil)

	must(t, c.Delete(t.Context(), client.KindServer, "db-1", 0))
	left := c.orphans(t, []string{"map db-1 e1 on san-1", "instance db-1 e1 on host-1"})
	if m := left[0]; !strings.Contains(m.Detail, "1 logged in") || !strings.HasPrefix(m.Next, "end the instance") {
		t.Errorf("a map that is written through: %+v", m)
	}
	report, err := c.Doctor(t.Context())
	must(t, err)
	if !strings.Contains(fmt.Sprint(report.Checks), "map of db-1 on san-1, instance of db-1 on host-1") {
		t.Errorf("the doctor does not tell of it: %+v", report.Checks)
	}
	writes(t, book, 1, 5)

	c.apply(t, text)
	c.orphans(t, nil)
	c.healthy(t, 1)

	must(t, c.Delete(t.Context(), client.KindServer, "db-1", 0))
	must(t, machines.End(t.Context(), "db-1", 1))
	c.orphans(t, []string{"map db-1 e1 on san-1"})
	eventually(t, "the array forgets the session", func() error {
		left = c.orphans(t, []string{"map db-1 e1 on san-1"})
		if !strings.HasPrefix(left[0].Next, "tgt-admin") {
			return fmt.Errorf("next is %q", left[0].Next)
		}
		return nil
	})
	words := strings.Fields(left[0].Next)
	if out, err := exec.CommandContext(t.Context(), words[0], words[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", left[0].Next, err, out)
	}
	c.orphans(t, nil)

	// An array and a host that cannot be asked are no array and no host without orphans.
	stop()
	g.stop()
	c.orphans(t, []string{"unknown on san-1", "unknown on host-1"})
}

// orphans waits until those and no others are listed.
func (c control) orphans(t *testing.T, want []string) []client.Orphan {
	t.Helper()
	var list client.List[client.Orphan]
	eventually(t, fmt.Sprintf("orphans %q", want), func() error {
		var err error
		if list, err = c.Orphans(t.Context()); err != nil {
			return err
		}
		var got []string
		for _, o := range list.Items {
			if o.Error != "" {
				got = append(got, "unknown on "+o.On)
				continue
			}
			got = append(got, fmt.Sprintf("%s %s e%d on %s", o.Kind, o.Server, o.Epoch, o.On))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("there are %q", got)
		}
		return nil
	})
	return list.Items
}
