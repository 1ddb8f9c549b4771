package tgt

import (
	"context"
	"net"
	"testing"

	"relight/internal/array"
	"relight/internal/array/arraytest"
	"relight/internal/array/arraytest/tgtd"
	"relight/internal/array/iscsi"
)

const prefix = "iqn.2026-01.org.example.san"

// daemon is a private tgtd on a loopback portal.
type daemon struct{ *tgtd.Daemon }

func startDaemon(t *testing.T) daemon {
	t.Helper()
	return daemon{tgtd.New(t)}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (d daemon) array(dir string) *Array {
	return New(Config{Name: "san-1", Prefix: prefix, Portal: d.Portal, Dir: dir, Control: d.Control})
}

func connect(ctx context.Context, cfg iscsi.Config) (array.Conn, error) {
	s, err := iscsi.Dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func TestSuite(t *testing.T) {
	arraytest.Run(t, func(t *testing.T) arraytest.Harness {
		d := startDaemon(t)
		return arraytest.Harness{
			Array: d.array(t.TempDir()), Prefix: prefix, Connect: connect,
			Restart: func() { d.Stop(); d.Start() },
		}
	})
}
