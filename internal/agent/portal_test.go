package agent

import (
	"bytes"
	"net"
	"testing"

	"relight/internal/agent/driver/qemu"
	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

// portals are one that answers and one on which nobody listens any more.
func portals(t *testing.T) (answers, dead string) {
	t.Helper()
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l, gone := listen(), listen()
	t.Cleanup(func() { _ = l.Close() })
	_ = gone.Close()
	return l.Addr().String(), gone.Addr().String()
}

// The first portal that answers is used; what was chosen once stays, because a repeated
// launch is the same launch.
func TestThroughPortals(t *testing.T) {
	answers, dead := portals(t)
	disks := []link.Disk{
		{Volume: "boot", Portal: dead, MorePortals: []string{answers}},
		{Volume: "data", Portal: answers, MorePortals: []string{dead}},
		{Volume: "lost", Portal: dead, MorePortals: []string{dead}},
		{Volume: "one", Portal: dead},
	}
	want := []string{answers, answers, dead, dead}
	got := throughPortals(t.Context(), disks, nil)
	for i, d := range got {
		if d.Portal != want[i] {
			t.Errorf("%s goes through %s, want %s", d.Volume, d.Portal, want[i])
		}
	}
	if disks[0].Portal != dead {
		t.Error("the command itself was changed")
	}
	chosen := chosenPortals(got)
	if _, has := chosen["one"]; has || chosen["boot"] != answers {
		t.Errorf("chosen %v", chosen)
	}
	if again := throughPortals(t.Context(), disks, map[string]string{"boot": dead}); again[0].Portal != dead {
		t.Errorf("a repeated launch goes through %s", again[0].Portal)
	}
}

// A host reaches an array as long as any of its portals answers it.
func TestReachesAnArrayThroughAnyPortal(t *testing.T) {
	now := int64(100 * portalFresh)
	a := &Agent{memory: &memory{}}
	a.opt.Clock = func() int64 { return now }
	a.board = newBoard(a.opt.Clock, func() {})
	a.memory.watch = &link.Watch{Portals: []link.Portal{{Array: "san-1", Addr: "192.0.2.1:3260"}, {Array: "san-1", Addr: "192.0.2.2:3260"}, {Array: "san-2", Addr: "192.0.2.3:3260"}}}
	lun := fleet.Volume{LUN: &fleet.LUN{Array: "san-1"}}
	a.board.portals["192.0.2.3:3260"] = now
	if _, ok := a.reachesLUN(lun); ok {
		t.Error("another array answered")
	}
	a.board.portals["192.0.2.1:3260"] = now - 2*int64(portalFresh)
	if at, ok := a.reachesLUN(lun); ok || at != now-2*int64(portalFresh) {
		t.Error("its last answer is old")
	}
	a.board.portals["192.0.2.2:3260"] = now - 1
	if at, ok := a.reachesLUN(lun); !ok || at != now-1 {
		t.Error("its second portal answered")
	}
}

// iPXE is given all ways to each disk.
func TestSANScriptTakesAllPortals(t *testing.T) {
	disk := link.Disk{
		Volume: "boot", Portal: "10.77.0.1:3260", MorePortals: []string{"10.78.0.1:3260"}, Target: "iqn.2026-01.example:t.db.e3", Unit: 1,
		Initiator: "iqn.2026-01.example:db.e3", User: "db.e3", Secret: "abcdefgh23456789",
	}
	data := disk
	data.Volume, data.Unit = "data", 2
	m := qemu.Machine{Server: "db", Epoch: 3, Disks: []link.Disk{disk, data}}
	script, err := SANScript(m)
	if err != nil {
		t.Fatal(err)
	}
	uri := func(address, unit string) string {
		return "iscsi:" + address + "::3260:" + unit + ":iqn.2026-01.example:t.db.e3"
	}
	for _, line := range []string{
		"sanhook --drive 0x80 " + uri("10.77.0.1", "1") + " " + uri("10.78.0.1", "1") + " &&",
		"sanhook --no-describe --drive 0x81 " + uri("10.77.0.1", "2") + " " + uri("10.78.0.1", "2") + " &&",
	} {
		if !bytes.Contains(script, []byte(line)) {
			t.Errorf("no %q in\n%s", line, script)
		}
	}
	m.Disks[0].MorePortals = []string{"10.78.0.1:3260", "10.79.0.1:3260", "10.80.0.1:3260", "10.81.0.1:3260"}
	if script, err = SANScript(m); err != nil || !bytes.Contains(script, []byte("\nsanhook --drive 0x80 "+uri("10.81.0.1", "1")+" ||")) {
		t.Errorf("more ways than the table has room for: %v\n%s", err, script)
	}
}
