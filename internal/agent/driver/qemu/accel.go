package qemu

// Accel is by what a machine's CPU is made.
type Accel string

// The accelerators.
const (
	KVM Accel = "kvm"
	TCG Accel = "tcg"
)

func (a Accel) cpu() string {
	if a == KVM {
		return "host"
	}
	return "max"
}
