package agent

import (
	"errors"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/onprem/link"
)

func order(kind fleet.StepKind, epoch fleet.Epoch, vm bool) link.Command {
	cmd := link.Command{Step: fleet.Step{Kind: kind, Server: "a", Epoch: epoch}}
	if vm {
		cmd.VM = &fleet.VMTemplate{}
	} else {
		cmd.Process = &fleet.ProcessTemplate{}
	}
	return cmd
}

func TestCommandsGoToTheirDriver(t *testing.T) {
	processes, machines := newFake(), newFake()
	d := newDrivers(processes, machines)
	do := func(cmd link.Command) {
		t.Helper()
		_, err := d.Do(t.Context(), cmd)
		must(t, err)
	}
	do(order(fleet.StepLaunch, 1, false))
	do(order(fleet.StepLaunch, 2, true))
	// The template was changed since: what runs counts.
	do(order(fleet.StepStop, 1, true))
	do(order(fleet.StepStop, 2, false))
	if p, m := processes.count(), machines.count(); p != 2 || m != 2 {
		t.Errorf("processes had %d commands, machines %d", p, m)
	}
	got := d.Instances()
	if len(got) != 2 || got[0].Epoch != 1 || got[1].Epoch != 2 || got[1].State != fleet.InstanceReaped {
		t.Errorf("instances: %+v", got)
	}
}

func TestAnEndThatNobodyKnowsReachesAllDrivers(t *testing.T) {
	processes, machines := newFake(), newFake()
	d := newDrivers(processes, machines)
	machines.become("a", 1, fleet.InstanceRunning)
	must(t, d.End(t.Context(), "a", 1))
	must(t, d.End(t.Context(), "a", 2))
	if p, m := len(processes.Instances()), len(machines.Instances()); p != 1 || m != 2 {
		t.Errorf("processes ended %d, machines %d", p, m)
	}
}

func TestChangesOfAllDriversArrive(t *testing.T) {
	processes, machines := newFake(), newFake()
	d := newDrivers(processes, machines)
	done := make(chan struct{})
	go func() { defer close(done); d.forward(t.Context()) }()
	t.Cleanup(func() { <-done })
	for _, one := range []*fake{processes, machines} {
		one.become("a", 1, fleet.InstanceRunning)
		select {
		case <-d.Changes():
		case <-time.After(10 * time.Second):
			t.Fatal("no change arrives")
		}
	}
}

func TestAHostWithoutMachinesSaysSo(t *testing.T) {
	d := newDrivers(newFake(), nil)
	_, err := d.Do(t.Context(), order(fleet.StepLaunch, 1, true))
	if c, may := class(t, err); c != provider.Permanent || may || !errors.Is(err, errNoMachines) {
		t.Errorf("%v (%s, %v)", err, c, may)
	}
}

func TestADifferentDiskIsAnotherCommand(t *testing.T) {
	cmd := order(fleet.StepLaunch, 1, true)
	seen := map[string]bool{}
	for _, change := range []func(){
		func() {},
		func() { cmd.VM = &fleet.VMTemplate{Memory: 1} },
		func() { cmd.Disks = []link.Disk{{Volume: "data"}} },
		func() { cmd.Disks = []link.Disk{{Volume: "data", Secret: "x"}} },
	} {
		change()
		if c := contentOf(cmd); c == "" || seen[c] {
			t.Errorf("%+v has no content of its own", cmd)
		} else {
			seen[c] = true
		}
	}
}
