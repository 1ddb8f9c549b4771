package qemu

import (
	"bytes"
	"context"
	_ "embed" // the probe's guest
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"relight/internal/agent/keeper"
	"relight/internal/agent/keeper/proc"
)

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

// probeGuest is the end of a firmware image; testdata/probe.S is its source.
//
//go:embed probe.bin
var probeGuest []byte

const (
	// ProbeWithin is how long the probe's guest may take. It needs some
	// milliseconds on hardware, and half a second in the emulator.
	ProbeWithin  = 3 * time.Second
	firmwareSize = 64 << 10
	// probeExit is what QEMU exits with when the guest has come to its end.
	probeExit = 0x10<<1 | 1
	kvmDevice = "/dev/kvm"
)

// ErrProbe means that the probe's guest did not run to its end.
var ErrProbe = errors.New("a guest did not run")

// Probe chooses the accelerator of a host: KVM only if a small guest ran on it in
// time, because a host can have a /dev/kvm on which no kernel ever boots. The
// choice is kept for as long as the host is up.
type Probe struct {
	dir, binary, device string
	within              time.Duration

	mu sync.Mutex
}

// NewProbe makes a probe that keeps its choice in dir. The binary is DefaultBinary
// if empty.
func NewProbe(dir, binary string) *Probe {
	if binary == "" {
		binary = DefaultBinary
	}
	return &Probe{dir: dir, binary: binary, device: kvmDevice, within: ProbeWithin}
}

// choice is what is kept.
type choice struct {
	Boot   string `json:"boot"`
	Accel  Accel  `json:"accel"`
	Detail string `json:"detail"`
}

const choiceFile = "accel.json"

// Choose returns the accelerator and, for people, why. It takes up to ProbeWithin
// at the first call after the host's boot.
func (p *Probe) Choose(ctx context.Context) (Accel, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	boot, err := proc.BootID()
	path := filepath.Join(p.dir, choiceFile)
	var have choice
	if err == nil && keeper.ReadFile(path, &have) == nil && have.Boot == boot {
		return have.Accel, have.Detail
	}
	have = choice{Boot: boot, Accel: KVM, Detail: "a guest ran on KVM"}
	if _, err := os.Stat(p.device); err != nil {
		have.Accel, have.Detail = TCG, "this host has no "+p.device
	} else if err := Try(ctx, p.binary, KVM, p.within); err != nil {
		have.Accel, have.Detail = TCG, p.device+" is there, but "+err.Error()
	}
	// What was broken off says nothing about the host.
	if ctx.Err() == nil && boot != "" {
		if err := keeper.WriteFile(path, have, false); err != nil {
			have.Detail += "; " + err.Error()
		}
	}
	return have.Accel, have.Detail
}

// Try boots the probe's guest on an accelerator and returns nil if it ran to its
// end in time. Errors: ErrProbe.
func Try(ctx context.Context, binary string, a Accel, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	f, err := os.CreateTemp("", "relight-probe-*")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProbe, err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(append(make([]byte, firmwareSize-len(probeGuest)), probeGuest...))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%w: %w", ErrProbe, err)
	}
	cmd := exec.CommandContext(ctx, binary, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35",
		"-accel", string(a), "-cpu", a.cpu(), "-m", "32", "-bios", f.Name(), "-device", "isa-debug-exit,iobase=0xf4,iosize=4")
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == probeExit:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%w on %s within %s", ErrProbe, a, within)
	default:
		line, _, _ := bytes.Cut(bytes.TrimSpace(out), []byte("\n"))
		return fmt.Errorf("%w on %s: %w: %.200s", ErrProbe, a, err, line)
	}
}
