package controller_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/array"
	"relight/internal/core/fleet"
)

// TestExamineArray: a person learns what a real tgtd is worth, through a whole
// controller; the LUN of a server is refused, and no server is touched.
func TestExamineArray(t *testing.T) {
	g := newTarget(t)
	must(t, array.CreateFile(g.dir, array.LUN{Name: "db-1-data", Bytes: 64 << 20}))
	c := startController(t, logOf(t))
	c.apply(t, fmt.Sprintf(sanYAML, g.portal, g.dir, g.control))

	got, err := c.ExamineArray(t.Context(), "san-1", client.ArrayExamination{Watch: fleet.Duration(200 * time.Millisecond)})
	must(t, err)
	if got.Failed() || got.SecondLine || !got.Made || got.LUN != "relight-probe" || got.Driver != "tgt" || got.Site != "dc" || len(got.Fence) != 6 {
		t.Errorf("%+v", got)
	}
	t.Logf("%+v", got)
	does := map[string]string{}
	for _, d := range got.Commands {
		does[d.Command] = d.Does
	}
	for command, want := range map[string]string{"WRITE(16)": "stopped", "ORWRITE(16)": "let through", "PREEMPT": "removes the key", "PREEMPT AND ABORT": "refused"} {
		if does[command] != want {
			t.Errorf("%s: %q, want %q", command, does[command], want)
		}
	}
	for what, req := range map[string]client.ArrayExamination{"is volume data of db-1": {LUN: "db-1-data"}, "is not between": {Watch: fleet.Duration(time.Hour)}} {
		var p *client.Problem
		if _, err := c.ExamineArray(t.Context(), "san-1", req); !errors.As(err, &p) || !strings.Contains(p.Detail, what) || p.Next == "" {
			t.Errorf("%+v: %v, want %q", req, err, what)
		}
	}
	if data, err := os.ReadFile(array.FilePath(g.dir, "db-1-data")); err != nil || strings.Trim(string(data), "\x00") != "" {
		t.Errorf("the server's LUN was written to (%v)", err)
	}
	g.stop()
	if got, err = c.ExamineArray(t.Context(), "san-1", client.ArrayExamination{}); err != nil || !got.Failed() || got.Trouble == "" {
		t.Errorf("an array that is away: %+v, %v", got, err)
	}
	if _, err := c.ExamineArray(t.Context(), "san-9", client.ArrayExamination{}); err == nil {
		t.Error("an array that nobody declared was examined")
	}
	g.start()
}
