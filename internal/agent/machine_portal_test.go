package agent

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"relight/internal/core/fleet"
)

// The preferred portal of its array is dead: the machine starts through the other one
// and writes. When the first is back, the same launch again is the same launch.
func TestMachineStartsThroughTheOtherPortal(t *testing.T) {
	r := newRig(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	dead := l.Addr().String()
	must(t, l.Close())
	vm, disks := r.template(), r.let(1)
	live := disks[0].Portal
	disks[0].Portal, disks[0].MorePortals = dead, []string{live}
	r.launch(1, vm, disks)
	argv, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", r.m.process(mkey{"db-1", 1}).PID))
	must(t, err)
	if !strings.Contains(string(argv), live) || strings.Contains(string(argv), dead) {
		t.Errorf("it logs in elsewhere than at %s", live)
	}

	l, err = net.Listen("tcp", dead)
	if err != nil {
		t.Skipf("another took the port meanwhile: %v", err)
	}
	defer l.Close()
	if _, err := r.do(r.command(fleet.StepLaunch, 1, vm, disks)); err != nil {
		t.Errorf("the same launch again: %v", err)
	}
	r.writes(1)
}
