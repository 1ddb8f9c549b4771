package address

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// An announcement that fails is told and tried again; none comes after the release.
func TestAnnouncementsEndWithTheClaim(t *testing.T) {
	for _, c := range []struct {
		held time.Duration
		want []time.Duration
	}{
		{1500 * time.Millisecond, []time.Duration{0, time.Second}},
		{time.Minute, []time.Duration{0, time.Second, 2 * time.Second}},
	} {
		synctest.Test(t, func(t *testing.T) {
			began, said, troubles := time.Now(), []time.Duration(nil), 0
			n := &fakeNet{say: func(what string) error {
				if what != "192.0.2.7/24@eth0" {
					t.Errorf("announced %s", what)
				}
				said = append(said, time.Since(began))
				return unix.EPERM
			}}
			h, err := Claims{Dir: t.TempDir(), Net: n}.Claim(Address{IP: "192.0.2.7/24", Device: "eth0"}, "db-1.1")
			if err != nil {
				t.Fatal(err)
			}
			h.Announce(func(err error) {
				if errors.Is(err, unix.EPERM) {
					troubles++
				}
			})
			<-time.After(c.held)
			if err := h.Release(); err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Minute)
			if !slices.Equal(said, c.want) || troubles != len(said) {
				t.Errorf("held for %s: announced at %v, %d troubles", c.held, said, troubles)
			}
		})
	}
}

func TestNothingToAnnounceWithoutADevice(t *testing.T) {
	h, err := Claims{Dir: t.TempDir(), Net: &fakeNet{}}.Claim(Address{IP: own}, "db-1.1")
	if err != nil {
		t.Fatal(err)
	}
	h.Announce(func(err error) { t.Error(err) })
	if err := h.Release(); err != nil {
		t.Fatal(err)
	}
	if err := (Host{}).Announce(netip.MustParsePrefix("127.77.3.1/32"), "lo"); err != nil {
		t.Errorf("loopback: %v", err)
	}
	if err := (Host{}).Announce(netip.MustParsePrefix("192.0.2.7/24"), "no-such-device"); err == nil {
		t.Error("a missing device was announced on")
	}
}
