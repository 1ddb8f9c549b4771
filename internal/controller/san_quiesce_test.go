package controller_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relight/internal/api/client"
	"relight/internal/array"
	"relight/internal/core/event"
)

// TestMoveQuiesces moves a server that writes, with a real controller, real agents and a
// real iSCSI target. While its own program refuses, the move is called off and the epoch
// writes on; once it agrees it is asked for that epoch, and the move is made.
func TestMoveQuiesces(t *testing.T) {
	g := newTarget(t)
	must(t, array.CreateFile(g.dir, array.LUN{Name: "db-1-data", Bytes: 64 << 20}))
	log := logOf(t)
	c := startController(t, log)
	book := newLedger()
	for _, name := range []string{"host-1", "host-2"} {
		m := newInitiators(book)
		t.Cleanup(m.close)
		c.join(t, name, t.TempDir(), m, log)
	}
	dir := t.TempDir()
	agrees, asked := filepath.Join(dir, "agrees"), filepath.Join(dir, "asked")
	script := fmt.Sprintf("echo $RELIGHT_SERVER $RELIGHT_EPOCH >> %s; test -e %s || { echo a backup runs; exit 1; }", asked, agrees)
	text := strings.Replace(fmt.Sprintf(sanYAML, g.portal, g.dir, g.control), "  template: {vm: {kernel: /boot/vmlinuz}}",
		fmt.Sprintf("  template: {vm: {kernel: /boot/vmlinuz}}\n  quiesce: {command: [/bin/sh, -c, %q]}", script), 1)
	c.apply(t, text)
	first := c.healthy(t, 1)
	writes(t, book, 1, 20)
	other := map[string]string{"host-1": "host-2", "host-2": "host-1"}[first]
	_, err := c.Move(t.Context(), "db-1", client.MoveRequest{To: other})
	must(t, err)
	eventually(t, "the move is called off", func() error {
		list, err := c.Events(t.Context(), client.EventQuery{Server: "db-1", Limit: 1000})
		for _, r := range list.Items {
			if r.Event.Kind == event.MoveCalledOff && strings.Contains(r.Event.Message, "a backup runs") {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("it is not, among %d events", len(list.Items)))
	})
	if got := c.healthy(t, 1); got != first {
		t.Errorf("epoch 1 is on %s, want %s still", got, first)
	}
	writes(t, book, 1, 20)

	must(t, os.WriteFile(agrees, nil, 0o600))
	_, err = c.Move(t.Context(), "db-1", client.MoveRequest{To: other})
	must(t, err)
	if got := c.healthy(t, 2); got != other {
		t.Errorf("epoch 2 is on %s, want %s", got, other)
	}
	writes(t, book, 2, 20)
	if text, err := os.ReadFile(asked); err != nil || string(text) != "db-1 1\ndb-1 1\n" {
		t.Errorf("it was asked %q, %v", text, err)
	}
}
