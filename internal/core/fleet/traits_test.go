package fleet

import (
	"slices"
	"testing"
)

// A virtual machine is reset in place and its application is out of the agent's reach;
// all that the provider can do for other servers stays as it is.
func TestTraitsOfAVirtualMachine(t *testing.T) {
	all := Traits{Provider: "onprem", Rungs: []Rung{RestartApp, Relaunch, Move}, AppIsInstance: true, AttachFirst: true, Seals: true, Places: true}
	vm := all.For(Server{Spec: ServerSpec{Template: Template{VM: &VMTemplate{}}}})
	if !slices.Equal(vm.Rungs, []Rung{Reboot, Relaunch, Move}) || vm.AppIsInstance || !vm.AttachFirst || !vm.Seals || !vm.Places {
		t.Errorf("%+v", vm)
	}
	if p := all.For(Server{}); !p.AppIsInstance || !slices.Contains(p.Rungs, RestartApp) || all.Rungs[0] != RestartApp {
		t.Errorf("%+v", p)
	}
}
