package qemu

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func needQEMU(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath(DefaultBinary); err != nil {
		t.Skipf("SKIPPED: needs %s", DefaultBinary)
	}
}

// The guest of the probe must run where anything runs, or its failure on KVM would
// say nothing.
func TestProbeRunsInTheEmulator(t *testing.T) {
	needQEMU(t)
	if err := Try(t.Context(), DefaultBinary, TCG, 30*time.Second); err != nil {
		t.Error(err)
	}
}

func TestProbeFailsInTime(t *testing.T) {
	needQEMU(t)
	whole := probeGuest
	defer func() { probeGuest = whole }()
	probeGuest = bytes.Clone(whole)
	copy(probeGuest[0x3F0:], []byte{0xEB, 0xFE}) // jump to itself
	if err := Try(t.Context(), DefaultBinary, TCG, 300*time.Millisecond); !errors.Is(err, ErrProbe) || !strings.Contains(err.Error(), "within 300ms") {
		t.Error(err)
	}
	if err := Try(t.Context(), "/bin/false", TCG, time.Minute); !errors.Is(err, ErrProbe) {
		t.Error(err)
	}
}

// stub is a QEMU that counts its calls and ends with a code.
func stub(t *testing.T, code string) (binary, calls string) {
	t.Helper()
	dir := t.TempDir()
	binary, calls = filepath.Join(dir, "qemu"), filepath.Join(dir, "calls")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\necho x >> "+calls+"\nexit "+code+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return binary, calls
}

func TestChoice(t *testing.T) {
	device := filepath.Join(t.TempDir(), "kvm")
	if err := os.WriteFile(device, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		device, code string
		want         Accel
		calls        int
	}{
		"no device":          {device + "-none", "33", TCG, 0},
		"works":              {device, "33", KVM, 1},
		"is there but fails": {device, "1", TCG, 1},
	} {
		t.Run(name, func(t *testing.T) {
			binary, calls := stub(t, c.code)
			p := NewProbe(t.TempDir(), binary)
			p.device = c.device
			for range 2 { // the second time it is remembered
				if got, why := p.Choose(t.Context()); got != c.want || why == "" {
					t.Errorf("%s (%s)", got, why)
				}
			}
			b, _ := os.ReadFile(calls)
			if n := strings.Count(string(b), "x"); n != c.calls {
				t.Errorf("QEMU ran %d times, want %d", n, c.calls)
			}
		})
	}
}

// The binary is what its source says.
func TestProbeIsItsSource(t *testing.T) {
	for _, tool := range []string{"as", "objcopy"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: needs %s", tool)
		}
	}
	dir := t.TempDir()
	o, bin := filepath.Join(dir, "probe.o"), filepath.Join(dir, "probe.bin")
	for _, argv := range [][]string{
		{"as", "--64", "testdata/probe.S", "-o", o}, {"objcopy", "-O", "binary", "-j", ".text", o, bin},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	b, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, probeGuest) {
		t.Error("probe.bin is not made of testdata/probe.S")
	}
}
