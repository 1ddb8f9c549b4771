package power

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
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

func single(d fleet.PowerDevice) fleet.Power { return fleet.Power{PowerDevice: d} }

func TestSwitchReadsBack(t *testing.T) {
	d, dir := device(t, `echo "$action $plug" >>$dir/calls
case $action in
off) touch $dir/off;;
status) n=$(grep -c status $dir/calls); [ "$n" -lt 2 ] && exit 0; [ -e $dir/off ] && echo "Status: OFF" && exit 2; exit 0;;
esac`)
	if said, err := Switch(t.Context(), single(d)); err != nil || said != "read back as off: fence plug host-1" {
		t.Fatal(said, err)
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
	if _, err := Switch(ctx, single(d)); !errors.Is(err, ErrStillOn) {
		t.Errorf("a device that stays on: %v, want ErrStillOn", err)
	}
}

func TestStatusErrorIsNotOff(t *testing.T) {
	d, _ := device(t, `[ "$action" = off ] && exit 0; echo cannot reach it >&2; exit 1`)
	ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
	defer cancel()
	var code *CodeError
	if _, err := Switch(ctx, single(d)); !errors.As(err, &code) || code.Code != 1 || code.Said != "cannot reach it" {
		t.Errorf("a device that cannot be read: %v", err)
	}
	d.Command = []string{"/nonexistent/fence"}
	if _, err := Switch(t.Context(), single(d)); !errors.Is(err, errHopeless) {
		t.Errorf("a program that is not there: %v", err)
	}
}

// What cannot run as a fence agent ends with 2 often enough: a shell or Python that
// does not find its script, a Go program that panics or does not know a flag.
func TestExitTwoAloneIsNotOff(t *testing.T) {
	dumb, _ := device(t, `exit 2`)
	lying, _ := device(t, `echo "Status: ON"; exit 2`)
	other, _ := device(t, `echo "Status: OFF"; exit 0`)
	for name, d := range map[string]fleet.PowerDevice{
		"no script for sh":     {Command: []string{"/bin/sh", "/nonexistent/fence_apc"}},
		"no script for python": {Command: []string{"python3", "/nonexistent/fence_apc"}},
		"says nothing":         dumb, "says on": lying, "ends with 0, says off": other,
	} {
		state, err := Read(t.Context(), d)
		if err == nil {
			t.Errorf("%s: read as %s", name, state)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		if _, err := Switch(ctx, single(d)); err == nil {
			t.Errorf("%s: switched off", name)
		}
		cancel()
	}
	silent, _ := device(t, `[ $action = metadata ] && echo '<resource-agent name="x"/>' && exit 0; exit 2`)
	if state, err := Read(t.Context(), silent); err != nil || state != Off {
		t.Errorf("a fence agent that says nothing at off: %v, %v", state, err)
	}
}

func TestHangingDeviceEnds(t *testing.T) {
	d, dir := device(t, `[ "$action" = status ] && echo Status: ON && exit 0
mkfifo $dir/never-$$; (echo $$ >>$dir/pids; read x <$dir/never-$$) & wait`)
	d.Timeout = fleet.Duration(200 * time.Millisecond)
	err := panel{run: run}.device(t.Context(), d)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a hanging device: %v, want its own timeout", err)
	}
	pids, err := os.ReadFile(filepath.Join(dir, "pids"))
	if err != nil || len(strings.Fields(string(pids))) != failures {
		t.Errorf("%s, %v: want %d tries", pids, err, failures)
	}
}

// A device that ends well and leaves a child behind, which holds its pipes and
// would switch something later.
func TestNothingOutlivesItsCall(t *testing.T) {
	d, dir := device(t, `[ $action = status ] && echo "Status: OFF" && exit 2
(trap '' TERM HUP INT; sh -c 'echo $PPID' >$dir/child; sleep 1000; touch $dir/later) & while [ ! -s $dir/child ]; do :; done; exit 0`)
	if _, err := Switch(t.Context(), single(d)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "child"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil && !strings.Contains(string(stat), ") Z ") {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		t.Errorf("the child runs on: %s", stat)
	}
}

func TestStrangeOutput(t *testing.T) {
	for name, body := range map[string]string{
		"endless":           `yes "Status: OFF"`,
		"endless complaint": `yes x >&2`,
		"huge, ends with 2": `head -c 3000000 /dev/zero; echo; echo "Status: OFF"; exit 2`,
		"binary":            `head -c 100000 /dev/urandom; exit 2`,
		"closes its pipes":  `exec >&- 2>&- <&-; exit 2`,
		"reads nothing":     `exec <&-; exit 2`,
		"kills itself":      `kill -9 $$`,
	} {
		d, _ := device(t, body)
		d.Timeout = fleet.Duration(300 * time.Millisecond)
		if state, err := Read(t.Context(), d); err == nil {
			t.Errorf("%s: read as %s", name, state)
		} else if len(err.Error()) > 4*keepComplaint {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
	d, _ := device(t, `head -c 100000 /dev/urandom >&2; echo "Status: OFF"; exit 2`)
	if state, err := Read(t.Context(), d); err != nil || state != Off {
		t.Errorf("off with noise beside it: %v, %v", state, err)
	}
}

// Fence agents that cut a host off from its storage or network leave it running.
func TestNoPowerIsRefused(t *testing.T) {
	for _, cmd := range [][]string{{"/usr/sbin/fence_scsi"}, {"python3", "/usr/sbin/fence_brocade"}} {
		if _, err := Switch(t.Context(), single(fleet.PowerDevice{Command: cmd, Plug: "1"})); !errors.Is(err, ErrNotPower) {
			t.Errorf("%v: %v, want ErrNotPower", cmd, err)
		}
	}
	if _, err := Switch(t.Context(), fleet.Power{}); !errors.Is(err, ErrNoDevice) {
		t.Errorf("nothing declared: %v, want ErrNoDevice", err)
	}
	if _, err := Switch(t.Context(), fleet.Power{Levels: []fleet.PowerLevel{{}}}); !errors.Is(err, ErrNoDevice) {
		t.Errorf("an empty level: %v, want ErrNoDevice", err)
	}
}
