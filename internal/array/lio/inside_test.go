package lio

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"relight/internal/array"
	"relight/internal/array/arraytest"
	"relight/internal/array/examine"
	"relight/internal/array/iscsi"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
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

func freePortal(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
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
		a := New(Config{Name: "san-2", Prefix: prefix, Portal: freePortal(t), Dir: t.TempDir()}, tree)
		return arraytest.Harness{
			Array: a, Prefix: prefix, Restart: func() { fresh(t) }, OneListed: true, SecondLine: true, Away: away,
			Connect: func(ctx context.Context, cfg iscsi.Config) (array.Conn, error) { return iscsi.Dial(ctx, cfg) },
		}
	})
}

// A host that froze in the middle of a login does not hold up the fence of its epoch, nor
// the array's other servers. Kernels before 6.5 wait for it as long as its connection lasts.
func TestInsideHalfLogin(t *testing.T) {
	inside(t)
	fresh(t)
	t.Cleanup(func() { fresh(t) })
	a := New(Config{Name: "san-2", Prefix: prefix, Portal: freePortal(t), Dir: t.TempDir()}, tree)
	let := func(server string) iscsi.Config {
		t.Helper()
		m, err := array.NewMap(prefix, array.Ref{Server: server, Epoch: 1}, map[int]string{1: server}, strings.NewReader("0123456789abcdef"))
		if err = errors.Join(err, a.Create(t.Context(), array.LUN{Name: server, Bytes: 1 << 20})); err != nil {
			t.Fatal(err)
		}
		proof, _ := fence.Prove(fleet.Server{Name: server}, 0, "", nil, time.Now())
		at, err := a.Map(t.Context(), m, proof)
		if err != nil {
			t.Fatal(err)
		}
		return m.Config(at)
	}
	db, web := let("db"), let("web")
	half, err := iscsi.Begin(t.Context(), db)
	for err == nil && !half.Secure() {
		_, err = half.Step(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	evidence, err := array.Run(t.Context(), array.Env{
		Array: a, Now: time.Now, Wait: array.WaitBy(time.Now),
		Marks: func(context.Context, string) (fleet.Epoch, error) { return 1, nil },
		Login: array.TryLogin(array.Target{Portal: db.Portal, IQN: db.Target}, array.Map{Initiator: db.Initiator, User: db.User, Secret: db.Secret}),
	}, array.Plan{Ref: array.Ref{Server: "db", Epoch: 1}, Volumes: []string{"data"}, Every: 20 * time.Millisecond, Within: time.Minute})
	t.Logf("after %s: %v %+v", time.Since(began), err, evidence)
	if err != nil || len(evidence) != 1 {
		t.Errorf("fence: %v, %v", evidence, err)
	}
	done := false
	for err = nil; err == nil && !done; {
		done, err = half.Step(t.Context())
	}
	if done {
		t.Error("the login of before the fence ended in a session")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	s, err := iscsi.Dial(ctx, web)
	if err != nil {
		t.Fatalf("another server: %v", err)
	}
	_ = s.Close()
}

// The storage fence on Linux's own target: an epoch that writes without pause, one that
// holds a write back inside the target, one that has logged in half-way.
func TestInsideExamine(t *testing.T) {
	inside(t)
	fresh(t)
	t.Cleanup(func() { fresh(t) })
	a := New(Config{Name: "san-2", Prefix: prefix, Portal: freePortal(t), Dir: t.TempDir()}, tree)
	got, err := examine.Run(t.Context(), examine.Options{
		Array: a, Prefix: prefix, Load: 4, Watch: time.Second, FenceWithin: 20 * time.Second, LastResort: true,
		Random: rand.Reader, Now: time.Now, Wait: array.WaitBy(time.Now),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range got.Fence {
		t.Logf("%+v", f)
		if !f.Holds || f.Unsure {
			t.Errorf("%+v", f)
		}
	}
	if len(got.Fence) != 12 || got.Reservations == nil || got.Reservations.Commands["WRITE(16)"] != array.Stopped {
		t.Fatalf("%d findings, reservations %+v, %s", len(got.Fence), got.Reservations, got.Trouble)
	}
	if ok, why := got.Reservations.SecondLine(); !ok {
		t.Errorf("no second line: %v", why)
	}
}
