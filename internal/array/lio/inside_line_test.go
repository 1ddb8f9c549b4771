package lio

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"relight/internal/array"
	"relight/internal/array/iscsi"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/san"
)

// site is a server with one LUN on the kernel's target, as a controller has it.
type site struct {
	*testing.T
	*san.Arrays
	arr    *Array
	server fleet.Server
	fenced fleet.Epoch
}

func newSite(t *testing.T, reservations fleet.Reservations) *site {
	t.Helper()
	return newSiteOn(t, freePortal(t), reservations)
}

func newSiteOn(t *testing.T, portal string, reservations fleet.Reservations) *site {
	t.Helper()
	inside(t)
	fresh(t)
	t.Cleanup(func() { fresh(t) })
	s := &site{T: t, server: fleet.Server{Name: "db"}}
	s.server.Spec.Fence = fleet.FenceStorage
	s.server.Spec.Identity.Volumes = []fleet.Volume{{Name: "data", Reach: fleet.ReachArray, LUN: &fleet.LUN{Array: "san-2", Name: "db-data", Unit: 1}}}
	dir := t.TempDir()
	s.Arrays = san.Opened(san.Options{
		Open: func(a fleet.Array) (array.Array, error) {
			s.arr = New(Config{Name: a.Name, Prefix: array.Prefix(a), Portal: a.Portal, Dir: dir}, tree)
			return s.arr, nil
		},
		Fenced: func(context.Context, string) (fleet.Epoch, error) { return s.fenced, nil },
		Key:    make([]byte, san.KeySize), Now: time.Now,
	})
	s.SetServers([]fleet.Server{s.server})
	s.declare(portal, reservations)
	if err := s.arr.Create(t.Context(), array.LUN{Name: "db-data", Bytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) declare(portal string, reservations fleet.Reservations) {
	s.SetSites([]fleet.Site{{Name: "dc", Spec: fleet.SiteSpec{Kind: fleet.SiteZone, Arrays: []fleet.Array{{
		Name: "san-2", Driver: fleet.ArrayLIO, Portal: portal, Reservations: reservations,
	}}}}})
}

func (s *site) do(kind fleet.StepKind, e fleet.Epoch, evidence ...fleet.Evidence) provider.Outcome {
	s.Helper()
	proof, _ := fence.Prove(s.server, e-1, "", evidence, time.Now())
	call := provider.Call{Server: s.server, Term: 1, Proof: proof, Step: fleet.Step{Kind: kind, Server: "db", Epoch: e, Token: string(kind), Within: fleet.Duration(20 * time.Second)}}
	call.Step.Object.Volume = "data"
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	out, err := s.Do(ctx, call, s.server.Spec.Identity.Volumes[0])
	if err != nil {
		s.Fatal(err)
	}
	s.Logf("%s of epoch %d: %s; %s", kind, e, out.Detail, out.Note)
	return out
}

// login is a session as the epoch's machine has it: with an identifier that it draws.
func (s *site) login(e fleet.Epoch) *iscsi.Session {
	s.Helper()
	disks, err := s.Logins(s.Context(), "db", e)
	if err != nil || len(disks) != 1 {
		s.Fatalf("logins %v, %v", disks, err)
	}
	return s.dial(configOf(disks[0]))
}

func configOf(d san.Disk) iscsi.Config {
	return iscsi.Config{Portal: d.Portal, Target: d.Target, Initiator: d.Initiator, User: d.User, Secret: d.Secret}
}

func (s *site) dial(cfg iscsi.Config) *iscsi.Session {
	s.Helper()
	c, err := iscsi.Dial(s.Context(), cfg)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = c.Close() })
	return c
}

func (s *site) write(c *iscsi.Session, text string) error {
	data := make([]byte, iscsi.Block)
	copy(data, text)
	_, err := iscsi.Do(s.Context(), c, "write", iscsi.Write16(1, 5, data))
	return err
}

// byHand makes a target as a person does with targetcli, or as what that saved comes back:
// past Relight, on the same LUN.
func (s *site) byHand(iqn, initiator, user, secret string) *iscsi.Session {
	s.Helper()
	portal := freePortal(s.T)
	group := path.Join("iscsi", iqn, "tpgt_1")
	acl := path.Join(group, "acls", initiator)
	write := func(p, text string) error { return tree.Write(p, text) }
	err := errors.Join(
		tree.Mkdir(path.Join("iscsi", iqn)), tree.Mkdir(group), write(group+"/attrib/authentication", "1"), write(group+"/attrib/generate_node_acls", "0"),
		tree.Mkdir(acl), write(acl+"/auth/userid", user), write(acl+"/auth/password", secret),
		tree.Mkdir(group+"/lun/lun_1"), tree.Symlink(path.Join(store, "db-data"), group+"/lun/lun_1/db-data"),
		tree.Mkdir(acl+"/lun_1"), tree.Symlink(group+"/lun/lun_1", acl+"/lun_1/unit"),
		tree.Mkdir(group+"/np/"+portal), write(group+"/enable", "1"),
	)
	if err != nil {
		s.Fatal(err)
	}
	return s.dial(iscsi.Config{Portal: portal, Target: iqn, Initiator: initiator, User: user, Secret: secret})
}

// Somebody's mistake on the array lets a strange host in, and lets the old epoch in again
// after its fence. With the second line neither writes; without it both do.
func TestInsideSecondLineHolds(t *testing.T) {
	inside(t)
	for _, reservations := range []fleet.Reservations{fleet.ReservationsLine, fleet.ReservationsNever} {
		t.Run(string(reservations), func(t *testing.T) {
			s := newSite(t, reservations)
			line := reservations == fleet.ReservationsLine
			out := s.do(fleet.StepAttach, 1)
			if got := strings.Contains(out.Note, "reservation key"); got != line {
				t.Errorf("told %q", out.Note)
			}
			refused := func(what string, err error) {
				t.Helper()
				if conflict(err) != line || !line && err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
			for range 2 {
				if err := s.write(s.login(1), "first"); err != nil {
					t.Errorf("the epoch that runs: %v", err)
				}
			}
			stranger := s.byHand("iqn.2026-01.org.example:backup", "iqn.2026-01.org.example:host-9", "backup", "secretsecret12")
			refused("a strange host", s.write(stranger, "stranger"))

			old, err := s.Logins(t.Context(), "db", 1)
			if err != nil {
				t.Fatal(err)
			}
			takeAway(t, "iqn.2026-01.org.example:backup")
			s.fenced = 1
			shut := s.do(fleet.StepSeal, 1)
			if len(shut.Evidence) != 1 || strings.HasPrefix(shut.Evidence[0].Detail, "reservation keys up to its own preempted") != line {
				t.Errorf("%+v", shut.Evidence)
			}
			s.do(fleet.StepAttach, 2, shut.Evidence...)
			second := s.login(2)
			if err := s.write(second, "second"); err != nil {
				t.Errorf("the next epoch: %v", err)
			}
			back := s.byHand(old[0].Target, old[0].Initiator, old[0].User, old[0].Secret)
			refused("the old epoch, let in by hand", s.write(back, "stale"))
			is, err := os.ReadFile(array.FilePath(s.arr.cfg.Dir, "db-data"))
			if err != nil || bytes.Contains(is, []byte("second")) != line {
				t.Errorf("the LUN holds %q, %v", bytes.Trim(is, "\x00"), err)
			}
		})
	}
}

// The map of a server that runs is taken away by hand and made again: its machine logs in
// by itself the moment it can, and must not meet a reservation under which it is not yet
// registered. A declaration that no longer wants one leaves none behind.
func TestInsideSecondLineLetsTheOwnerBack(t *testing.T) {
	s := newSite(t, fleet.ReservationsLine)
	s.do(fleet.StepAttach, 1)
	disks, err := s.Logins(t.Context(), "db", 1)
	if err != nil {
		t.Fatal(err)
	}
	d := disks[0]
	ctx, stop := context.WithCancel(t.Context())
	wrote, refused := make(chan struct{}, 1<<10), make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := s.writeOn(ctx, d, wrote); conflict(err) {
				refused <- err
				return
			}
		}
	}()
	<-wrote
	for range 3 {
		takeAway(t, d.Target)
		for len(wrote) > 0 {
			<-wrote
		}
		s.do(fleet.StepAttach, 1)
		select {
		case <-wrote:
		case err := <-refused:
			t.Fatalf("the server's own write met its reservation: %v", err)
		}
	}
	stop()
	<-done
	if len(refused) > 0 {
		t.Errorf("the server's own write met its reservation: %v", <-refused)
	}
	told := func(what string, want int) {
		t.Helper()
		if got := s.Ask(t.Context()); len(got) != 1 || got[0].Err != nil || len(got[0].Without) != want {
			t.Errorf("%s: %+v", what, got)
		}
	}
	told("it stands", 0)
	if err := s.arr.DropHolder(t.Context(), "db"); err != nil {
		t.Fatal(err)
	}
	told("somebody took it away", 1)
	s.declare(s.arr.cfg.Portal, fleet.ReservationsNever)
	told("nobody wants it", 0)
	s.do(fleet.StepAttach, 1)
	if left, err := s.arr.Holders(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("holders %v, %v", left, err)
	}
	c := s.login(1)
	if keys, err := iscsi.Keys(t.Context(), c, 1); err != nil || len(keys) > 1 {
		t.Errorf("keys %#x, %v", keys, err)
	}
	if _, _, held, err := iscsi.Holder(t.Context(), c, 1); err != nil || held {
		t.Errorf("a reservation is left: %v, %v", held, err)
	}
	if err := s.write(c, "free"); err != nil {
		t.Error(err)
	}
}

// writeOn writes as the machine does, until it is thrown out.
func (s *site) writeOn(ctx context.Context, d san.Disk, wrote chan<- struct{}) error {
	c, err := iscsi.Dial(ctx, configOf(d))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	for ctx.Err() == nil {
		if err := s.write(c, "first"); err != nil {
			return err
		}
		select {
		case wrote <- struct{}{}:
		default: // nobody has read all of them yet
		}
	}
	return nil
}

func conflict(err error) bool {
	var status *iscsi.StatusError
	return errors.As(err, &status) && status.Reply.Status == iscsi.ReservationConflict
}

// takeAway removes a target with all that is in it, as a person does with targetcli.
func takeAway(t *testing.T, iqn string) {
	t.Helper()
	a := New(Config{}, tree)
	if err := a.release(iqn); err != nil {
		t.Fatal(err)
	}
}
