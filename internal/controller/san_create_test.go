package controller_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"relight/internal/api/client"
	"relight/internal/array"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// TestFirstStartMakesItsLUN is the whole way with a real controller, real agents and a
// real iSCSI target: the LUN that the spec gives a size is made for epoch 1 and recorded,
// and epoch 2 goes on with the same one. Once it is gone no empty one takes its place.
func TestFirstStartMakesItsLUN(t *testing.T) {
	g := newTarget(t)
	log := logOf(t)
	c := startController(t, log)
	book := newLedger()
	machines := map[string]*initiators{}
	for _, name := range []string{"host-1", "host-2"} {
		machines[name] = newInitiators(book)
		t.Cleanup(machines[name].close)
		c.join(t, name, t.TempDir(), machines[name], log)
	}
	text := strings.Replace(fmt.Sprintf(sanYAML, g.portal, g.dir, g.control), "lun: {array: san-1}", "lun: {array: san-1, size: 1}", 1)
	// A place in which nothing can be made: the first start waits, and uses up no epoch.
	must(t, os.Rename(g.dir, g.dir+".away"))
	c.apply(t, text)
	eventually(t, "the start waits for its LUN", func() error {
		v, err := c.Server(t.Context(), "db-1")
		if err == nil && (v.Status.Epoch != 1 || !strings.Contains(v.Decision.Reason, "its array has not given it its LUNs since")) {
			err = fmt.Errorf("epoch %d: %s", v.Status.Epoch, v.Decision.Reason)
		}
		return err
	})
	must(t, os.Rename(g.dir+".away", g.dir))

	first := c.healthy(t, 1)
	writes(t, book, 1, 30)
	file := array.FilePath(g.dir, "db-1-data")
	made, err := os.Stat(file)
	must(t, err)
	if made.Size() != 1<<30 {
		t.Errorf("the LUN has %d bytes", made.Size())
	}
	if entries, err := os.ReadDir(g.dir); err != nil || len(entries) != 1 {
		t.Errorf("beside the LUN there is %v, %v", entries, err)
	}
	c.recordsOfLUN(t, "LUN db-1-data of 1 GiB was not there and was made; db-1-data is empty", 1)

	// What is there is used as it is: another size in the spec changes nothing.
	c.apply(t, strings.Replace(text, "size: 1}", "size: 2}", 1))
	must(t, machines[first].End(t.Context(), "db-1", 1))
	second := c.healthy(t, 2)
	writes(t, book, 2, 30)
	c.recordsOfLUN(t, "LUN db-1-data has 1 GiB, not 2 GiB, and is left as it is", 1)
	book.check(t, file)
	if now, err := os.Stat(file); err != nil || !os.SameFile(made, now) || now.Size() != made.Size() {
		t.Errorf("epoch 2 has another file: %v, %v", now, err)
	}

	must(t, os.Rename(file, file+".kept")) // somebody removes it
	must(t, machines[second].End(t.Context(), "db-1", 2))
	const refused = "LUN db-1-data is not there, and none is made for epoch 3: on an empty one db-1 would start without its data"
	eventually(t, "the start is refused", func() error {
		return c.recorded(t, refused)
	})
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("there is a LUN again: %v", err)
	}
	must(t, os.Rename(file+".kept", file))
	eventually(t, "a person is asked", func() error {
		v, err := c.Server(t.Context(), "db-1")
		if err == nil && v.Status.Phase != fleet.PhaseNeedsPerson {
			err = fmt.Errorf("epoch %d: %s", v.Status.Epoch, v.Decision.Reason)
		}
		return err
	})
	_, err = c.Heal(t.Context(), "db-1", client.HealRequest{Rung: fleet.Relaunch, Reason: "the LUN is back"})
	must(t, err)
	eventually(t, "it goes on with its own data", func() error {
		v, err := c.Server(t.Context(), "db-1")
		if err == nil && (v.Status.Epoch < 3 || v.Status.VerifiedAt.IsZero()) {
			err = fmt.Errorf("epoch %d: %s", v.Status.Epoch, v.Decision.Reason)
		}
		return err
	})
	for _, m := range machines {
		m.close()
	}
	book.check(t, file)
}

// recorded looks for a sentence among the ended steps of the server.
func (c control) recorded(t *testing.T, text string) error {
	t.Helper()
	if c.countOfLUN(t, text) == 0 {
		return fmt.Errorf("no step ended with %q", text)
	}
	return nil
}

func (c control) recordsOfLUN(t *testing.T, text string, want int) {
	t.Helper()
	if n := c.countOfLUN(t, text); n != want {
		t.Errorf("%d steps ended with %q, want %d", n, text, want)
	}
}

func (c control) countOfLUN(t *testing.T, text string) int {
	t.Helper()
	list, err := c.Events(t.Context(), client.EventQuery{Server: "db-1", Limit: 1000})
	must(t, err)
	n := 0
	for _, r := range list.Items {
		if e := r.Event; e.Kind == event.StepEnded && e.Step.Step.Kind == fleet.StepAttach && strings.Contains(e.Message, text) {
			n++
		}
	}
	return n
}
