package agent

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relight/internal/agent/keeper"
	"relight/internal/beat"
	"relight/internal/core/fleet"
	"relight/internal/enrol"
	"relight/internal/provider/onprem/link"
)

const day = 24 * time.Hour

func TestRenewalBacksOff(t *testing.T) {
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	cert := &x509.Certificate{NotBefore: now.Add(-day), NotAfter: now.Add(90 * day)}
	r := renewalOf(cert)
	if w := r.wait(now); w != 60*day {
		t.Fatalf("a fresh certificate is renewed after %s", w)
	}
	now = now.Add(60 * day)
	if w := r.wait(now); w != 0 {
		t.Fatalf("two thirds are over and it waits for %s more", w)
	}
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour} {
		if w := r.failed(now, 0).wait(now); w != want/2 {
			t.Errorf("without jitter it waits for %s, want %s", w, want/2)
		}
		r = r.failed(now, 1)
		if w := r.wait(now); w != want {
			t.Errorf("it waits for %s, want %s", w, want)
		}
		now = now.Add(want)
	}
}

// postAs asks something of the controller with an identity of its own.
func (s *site) postAs(id *identity, path string, m any) error {
	key, err := id.key()
	must(s.t, err)
	return s.post(s.client(id.Cert, key), path, m)
}

func onDisk(t *testing.T, dir string) *identity {
	t.Helper()
	var id identity
	must(t, keeper.ReadFile(filepath.Join(dir, identityFile), &id))
	return &id
}

func TestRenewalUnderLoad(t *testing.T) {
	s := newSite(t)
	s.hub.SetServers([]fleet.Server{server("a")})
	s.hub.Beats().SetGrant(beat.Grant{Term: 1, Lease: time.Second, NotAfter: beat.BootClock()() + 3600*second})
	one := s.agent("host-1", t.TempDir(), nil)
	s.inContact("host-1")
	leased := func() error {
		if one.lease().Until == 0 {
			return errNotYet
		}
		return nil
	}
	eventually(t, "a lease", leased)
	before, joined := s.registry.host("host-1"), onDisk(t, one.opt.Dir)
	s.ahead.Store(int64(250 * day))
	must(t, one.renew(t.Context()))
	eventually(t, "the first use", func() error {
		if h := s.registry.host("host-1"); h.Serial == before.Serial || h.Next != nil {
			return fmt.Errorf("%s, next %v", h.Serial, h.Next)
		}
		return nil
	})
	after, stored := s.registry.host("host-1"), onDisk(t, one.opt.Dir)
	if after.Agent != before.Agent || string(after.BeatKey) != string(before.BeatKey) {
		t.Error("the renewal has changed the beats' key")
	}
	report := link.Report{V: link.Version, Run: "r", Seq: 1}
	if err := s.postAs(joined, link.PathReport, report); !errors.Is(err, ErrRefused) {
		t.Errorf("the earlier certificate: %v, want ErrRefused", err)
	}
	if err := s.postAs(joined, link.PathRenew, link.RenewRequest{V: link.Version, CSR: csrOf(t, joined)}); !errors.Is(err, ErrRefused) {
		t.Errorf("a renewal by the earlier certificate: %v, want ErrRefused", err)
	}
	must(t, s.postAs(stored, link.PathReport, report))
	info, err := os.Stat(filepath.Join(one.opt.Dir, identityFile))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the identity's file has mode %v", info.Mode().Perm())
	}
	for _, name := range []string{keyFile, nextKeyFile} {
		if _, err := os.Stat(filepath.Join(one.opt.Dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	// Commands, reports and the lease go on.
	until := one.lease().Until
	eventually(t, "a later lease", func() error {
		if one.lease().Until <= until {
			return errNotYet
		}
		return nil
	})
	_, err = s.hub.Do(t.Context(), call(t, server("a"), fleet.StepLaunch, "host-1", 1))
	must(t, err)
	if r := one.beats.Load(); r == nil || s.sweep().host("host-1").Host.Detour {
		t.Error("beats do not go by datagram")
	}
	// The next agent starts with what was stored.
	one.stop()
	s.agent("host-1", one.opt.Dir, func(o *Options) { o.Token = "" })
	s.inContact("host-1")
}

func csrOf(t *testing.T, id *identity) []byte {
	t.Helper()
	key, err := id.key()
	must(t, err)
	csr, err := enrol.Request(key)
	must(t, err)
	return csr
}

// An agent that starts with an old certificate renews it, also if an earlier try
// died on the way: before the answer was stored, or with the new key lost.
func TestRenewalAfterACrash(t *testing.T) {
	for name, crash := range map[string]func(*testing.T, *site, *running){
		"no earlier try": func(*testing.T, *site, *running) {},
		"answer not stored": func(t *testing.T, _ *site, a *running) {
			askRenewal(t, a)
		},
		"answer not stored, key lost": func(t *testing.T, _ *site, a *running) {
			askRenewal(t, a)
			must(t, os.Remove(filepath.Join(a.opt.Dir, nextKeyFile)))
		},
		"answer not stored, key damaged": func(t *testing.T, _ *site, a *running) {
			askRenewal(t, a)
			must(t, os.WriteFile(filepath.Join(a.opt.Dir, nextKeyFile), []byte("x"), 0o600))
		},
		"another controller meanwhile": func(t *testing.T, s *site, a *running) {
			askRenewal(t, a)
			s.stop()
			s.start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			first := s.agent("host-1", t.TempDir(), nil)
			s.inContact("host-1")
			before := s.registry.host("host-1").Serial
			s.ahead.Store(int64(250 * day))
			crash(t, s, first)
			first.stop()
			if h := s.registry.host("host-1"); h.Serial != before {
				t.Fatal("the renewed certificate was used already")
			}
			s.agent("host-1", first.opt.Dir, func(o *Options) { o.Token = "" })
			eventually(t, "the renewal", func() error {
				if h := s.registry.host("host-1"); h.Serial == before || h.Next != nil {
					return errNotYet
				}
				return nil
			})
			s.inContact("host-1")
		})
	}
}

// askRenewal asks for a renewal as an agent does that dies on the answer.
func askRenewal(t *testing.T, a *running) {
	t.Helper()
	now, _ := a.rotation.present()
	next := now
	var err error
	next.PKCS8, err = nextKey(a.opt.Dir, now.PKCS8)
	must(t, err)
	var reply link.RenewReply
	must(t, a.channel.exchange(t.Context(), link.PathRenew, link.RenewRequest{V: link.Version, CSR: csrOf(t, &next)}, func(body io.Reader) error {
		return link.Decode(body, link.MaxBody, &reply)
	}))
}

// An agent that died between the storing and the tidying up must take a new key at
// the next renewal.
func TestRenewalTakesANewKeyEachTime(t *testing.T) {
	dir := t.TempDir()
	one, err := nextKey(dir, nil)
	must(t, err)
	again, err := nextKey(dir, nil)
	must(t, err)
	if string(one) != string(again) {
		t.Error("a second try took another key")
	}
	two, err := nextKey(dir, one)
	must(t, err)
	if string(one) == string(two) {
		t.Error("the next renewal took the present key")
	}
}

func TestRenewalTooEarly(t *testing.T) {
	s := newSite(t)
	one := s.agent("host-1", t.TempDir(), nil)
	s.inContact("host-1")
	if err := one.renew(t.Context()); !errors.Is(err, ErrRefused) {
		t.Errorf("a renewal in the first half: %v, want ErrRefused", err)
	}
	s.inContact("host-1")
}

func TestCertificateThatHasEnded(t *testing.T) {
	s := newSite(t)
	one := s.agent("host-1", t.TempDir(), nil)
	s.inContact("host-1")
	agent := s.registry.host("host-1").Agent
	s.ahead.Store(int64(enrol.AgentLifetime + day))
	one.channel.close() // a live connection was let in before
	err := one.renew(t.Context())
	if !errors.Is(err, ErrEnded) || !strings.Contains(err.Error(), "relight host token host-1") {
		t.Errorf("a request: %v, want ErrEnded with the next command", err)
	}
	one.stop()
	a, err := New(Options{Dir: one.opt.Dir, Name: "host-1", Controller: "https://" + s.addr, Driver: newFake(), Now: s.now})
	must(t, err)
	if err := a.Run(t.Context()); !errors.Is(err, ErrEnded) || !strings.Contains(err.Error(), "--token-file") {
		t.Errorf("a start without a token: %v, want ErrEnded with the next command", err)
	}
	s.agent("host-1", one.opt.Dir, nil)
	eventually(t, "the new enrolment", func() error {
		if s.registry.host("host-1").Agent == agent {
			return errNotYet
		}
		return nil
	})
	s.inContact("host-1")
}
