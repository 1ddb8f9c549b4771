package tgt

import (
	"net"
	"testing"

	"relight/internal/array"
	"relight/internal/array/iscsi"
	"relight/internal/core/fleet"
)

// An epoch that is logged in through two portals is one epoch: the fence lists and ends
// the sessions of both, and neither lets it in again.
func TestFenceOverTwoPortals(t *testing.T) {
	l := newLab(t)
	_, port, err := net.SplitHostPort(l.d.Portal)
	l.must("portal", err)
	second := net.JoinHostPort("127.0.0.2", port)
	_, err = l.a.run(l.ctx, "--op", "new", "--mode", "portal", "--param", "portal="+second)
	l.must("second portal", err)

	ways := []iscsi.Config{l.start(1), l.start(1)}
	ways[1].Portal = second
	var sessions []array.Conn
	for _, cfg := range ways { // each draws its ISID: two paths of one initiator
		s, err := connect(l.ctx, cfg)
		l.must("login through "+cfg.Portal, err)
		t.Cleanup(func() { _ = s.Close() })
		n := uint64(len(sessions))
		_, err = iscsi.Do(l.ctx, s, "write", iscsi.Write16(10, n, record(1, n)))
		l.must("write through "+cfg.Portal, err)
		sessions = append(sessions, s)
	}
	listed, err := l.a.Sessions(l.ctx, array.Ref{Server: "db", Epoch: 1})
	if err != nil || len(listed) != 2 {
		t.Fatalf("%d sessions are listed, want those of both portals: %v", len(listed), err)
	}

	out, err := l.fence(l.a, 1, ways[1])
	l.must("fence", err)
	if len(out) == 0 || out[0].Method != fleet.InitiatorRemoved {
		t.Errorf("%+v", out)
	}
	for i, s := range sessions {
		if _, err := iscsi.Do(l.ctx, s, "write", iscsi.Write16(10, 20, record(1, 20))); err == nil {
			t.Errorf("epoch 1 still writes through %s", ways[i].Portal)
		}
		if s, err := connect(l.ctx, ways[i]); err == nil {
			_ = s.Close()
			t.Errorf("%s lets epoch 1 in again", ways[i].Portal)
		}
	}
	for n := range uint64(2) {
		if e, whole := l.onDisk(n); e != 1 || !whole {
			t.Errorf("record %d is lost", n)
		}
	}
}
