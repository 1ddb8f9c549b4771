package power

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relight/internal/core/fleet"
)

// device writes a fence agent as a shell script; body sees $action and $plug and
// the directory $dir.
func device(t *testing.T, body string) (fleet.PowerDevice, string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "fence")
	script := "#!/bin/sh\ndir='" + dir + "'\nwhile read line; do case $line in action=*) action=${line#action=};; plug=*) plug=${line#plug=};; *) echo \"$line\" >>$dir/options;; esac; done\n" + body
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return fleet.PowerDevice{
		Command: []string{path}, Plug: "host-1",
		Options: map[string]string{"ip": "192.0.2.1", "evil": "x\naction=on"},
	}, dir
}

func TestSwitchReadsBack(t *testing.T) {
	d, dir := device(t, `echo "$action $plug" >>$dir/calls
case $action in
off) touch $dir/off;;
status) n=$(grep -c status $dir/calls); [ "$n" -lt 2 ] && exit 0; [ -e $dir/off ] && exit 2; exit 0;;
esac`)
	if err := Switch(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	calls, _ := os.ReadFile(filepath.Join(dir, "calls"))
	if got := string(calls); got != "off host-1\nstatus host-1\nstatus host-1\n" {
		t.Errorf("calls:\n%s", got)
	}
	options, _ := os.ReadFile(filepath.Join(dir, "options"))
	if !strings.Contains(string(options), "ip=192.0.2.1\n") || !strings.Contains(string(options), "evil=x action=on\n") {
		t.Errorf("options:\n%s", options)
	}
}

func TestAcceptedIsNotOff(t *testing.T) {
	d, _ := device(t, `exit 0`)
	ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
	defer cancel()
	if err := Switch(ctx, d); !errors.Is(err, ErrStillOn) {
		t.Errorf("a device that stays on: %v, want ErrStillOn", err)
	}
}

func TestStatusErrorIsNotOff(t *testing.T) {
	d, _ := device(t, `[ "$action" = off ] && exit 0; echo cannot reach it >&2; exit 1`)
	ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
	defer cancel()
	if err := Switch(ctx, d); err == nil || !strings.Contains(err.Error(), "cannot reach it") {
		t.Errorf("a device that cannot be read: %v", err)
	}
	d.Command = []string{"/nonexistent/fence"}
	if err := Switch(ctx, d); err == nil {
		t.Error("a program that is not there switched something off")
	}
}

func TestHangingDeviceEnds(t *testing.T) {
	d, _ := device(t, `[ "$action" = status ] && exit 0; mkfifo $dir/never; (read x <$dir/never) & wait`)
	d.Timeout = fleet.Duration(200 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err := Switch(ctx, d)
	if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		t.Errorf("a hanging device: %v (whole: %v), want its own timeout", err, ctx.Err())
	}
}
