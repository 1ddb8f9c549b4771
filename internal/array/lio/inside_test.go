package lio

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"strings"
	"testing"

	"relight/internal/array/arraytest"
	"relight/internal/array/iscsi"
)

// tree is where the kernel shows its target.
const tree = Root("/sys/kernel/config/target")

func inside(t *testing.T) {
	t.Helper()
	if os.Getpid() != 1 {
		t.Skip("runs in the virtual machine of TestOnTheKernel")
	}
}

// fresh takes all that the target has from it, as a restart of the machine does.
func fresh(t *testing.T) {
	t.Helper()
	list := func(p string) []string {
		names, err := tree.List(p)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return names
	}
	// Only what somebody made can be removed; the kernel's own refuses.
	links := func(p string) {
		for _, l := range list(p) {
			_ = tree.Unlink(path.Join(p, l))
		}
		if err := tree.Rmdir(p); err != nil {
			t.Errorf("restart: %v", err)
		}
	}
	for _, iqn := range list("iscsi") {
		if !strings.HasPrefix(iqn, "iqn.") {
			continue
		}
		group := path.Join("iscsi", iqn, "tpgt_1")
		_ = tree.Write(group+"/enable", "0")
		for _, acl := range list(group + "/acls") {
			acl = path.Join(group, "acls", acl)
			for _, e := range list(acl) {
				if strings.HasPrefix(e, "lun_") {
					links(path.Join(acl, e))
				}
			}
			links(acl)
		}
		for _, u := range list(group + "/lun") {
			links(path.Join(group, "lun", u))
		}
		for _, p := range list(group + "/np") {
			links(path.Join(group, "np", p))
		}
		links(group)
		links(path.Join("iscsi", iqn))
	}
	for _, d := range list(store) {
		if st, err := os.Stat(tree.at(path.Join(store, d))); err == nil && st.IsDir() {
			links(path.Join(store, d))
		}
	}
}

// away: without a user the kernel hangs up, and a target that is gone is a service that
// is not there.
func away(err error) bool {
	var no *iscsi.LoginError
	return errors.Is(err, io.EOF) || errors.As(err, &no) && *no == iscsi.LoginError{Class: 3, Detail: 1}
}

// The suite of all drivers, on Linux's own target.
func TestInsideSuite(t *testing.T) {
	inside(t)
	arraytest.Run(t, func(t *testing.T) arraytest.Harness {
		fresh(t)
		t.Cleanup(func() { fresh(t) })
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		portal := l.Addr().String()
		_ = l.Close()
		a := New(Config{Name: "san-2", Prefix: prefix, Portal: portal, Dir: t.TempDir()}, tree)
		return arraytest.Harness{
			Array: a, Prefix: prefix, Restart: func() { fresh(t) }, OneListed: true, ByName: true, Away: away,
			Connect: func(ctx context.Context, cfg iscsi.Config) (arraytest.Conn, error) { return iscsi.Dial(ctx, cfg) },
		}
	})
}
