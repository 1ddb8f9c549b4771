package qemu

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTraffic(t *testing.T) {
	got := parseTraffic([]byte(`Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  100       1    0    0    0     0          0         0     200       2    0    0    0     0       0          0
rl01:7000      70    0    0    0     0          0         0     8000      80    0    0    0     0       0          0
broken: 1 2
`))
	if len(got) != 2 || got["rl01"] != (Traffic{In: 80, Out: 70}) {
		t.Errorf("%+v", got)
	}
}

func TestTapNames(t *testing.T) {
	names := map[string]bool{}
	for _, dir := range []string{"/a", "/b"} {
		for _, server := range []string{"db-1", "db-2"} {
			for e := range uint64(3) {
				names[TapName(dir, server, e)] = true
			}
		}
	}
	for n := range names {
		if len(n) > 15 || !plainName.MatchString(n) {
			t.Errorf("%q cannot name an interface", n)
		}
	}
	if len(names) != 12 {
		t.Errorf("%d names for 12 instances", len(names))
	}
}

func TestTap(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root for network interfaces")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	bridge, tap := "rlbr"+TapName(t.TempDir(), "", 0)[2:10], TapName(t.TempDir(), "db-1", 1)
	if out, err := exec.Command("ip", "link", "add", bridge, "type", "bridge").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: needs a bridge: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", bridge).Run() })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	joined := func() bool {
		to, err := filepath.EvalSymlinks("/sys/class/net/" + tap + "/master")
		return err == nil && filepath.Base(to) == bridge
	}
	for range 2 { // a repeated launch finds it
		must(MakeTap(tap, bridge))
	}
	if i, err := net.InterfaceByName(tap); err != nil || i.Flags&net.FlagUp == 0 || !joined() {
		t.Fatalf("%+v, %v, on the bridge: %v", i, err, joined())
	}
	if all, err := TapTraffic(); err != nil || len(all) == 0 {
		t.Errorf("%v, %v", all, err)
	}
	up := "u" + tap[1:]
	if out, err := exec.Command("ip", "link", "add", up, "master", bridge, "type", "veth", "peer", "name", "v"+tap[1:]).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: needs a second port: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", up).Run() })
	if ports, err := Uplinks(bridge); err != nil || !slices.Equal(ports, []string{up}) {
		t.Errorf("uplinks %q, %v, want %s alone", ports, err, up)
	}
	if _, err := Uplinks(bridge + "x"); err == nil {
		t.Error("a bridge that is not there has ports")
	}
	for range 2 {
		must(CutTap(tap, bridge))
		if joined() {
			t.Fatal("it is on the bridge still")
		}
	}
	must(MakeTap(tap, bridge))
	for range 2 {
		must(RemoveTap(tap, bridge))
		if _, err := net.InterfaceByName(tap); err == nil {
			t.Fatal("it is there still")
		}
	}
	must(CutTap(tap, bridge))
	if err := MakeTap(tap, bridge+"x"); !errors.Is(err, ErrNetwork) || !strings.Contains(err.Error(), bridge+"x") {
		t.Error(err)
	}
	if _, err := net.InterfaceByName(tap); err == nil {
		t.Error("a failed try has left its interface")
	}
}
