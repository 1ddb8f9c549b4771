package enrol

import (
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"relight/internal/core/fleet"
)

// An epoch's token is spent by one key on one instance: a machine that was made of its
// image has the key, and is not it.
func TestGuestIsOneInstance(t *testing.T) {
	vault, err := NewDirVault(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	a, err := OpenAuthority(t.Context(), vault, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	g, err := a.Guests(t.Context(), vault)
	if err != nil {
		t.Fatal(err)
	}
	for name, instance := range map[string]string{"tells it": "i-0aa", "older than to tell it": ""} {
		csr, who := request(t), GuestName{Server: "lic-07", Epoch: fleet.Epoch(len(instance) + 1), Instance: instance}
		token := g.Token(who.Server, who.Epoch).Text()
		for range 2 {
			der, err := g.Enrol(t.Context(), token, who, csr)
			if err != nil {
				t.Fatal(name, err)
			}
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := IdentifyGuest([][]*x509.Certificate{{cert}}); err != nil || got != who {
				t.Errorf("%s: %+v, %v; want %+v", name, got, err, who)
			}
		}
		other := who
		other.Instance = "i-0bb"
		if _, err := g.Enrol(t.Context(), token, other, csr); !errors.Is(err, ErrTokenUsed) {
			t.Errorf("%s: the same key on another instance: %v", name, err)
		}
		other.Instance = "../i-0aa"
		if _, err := g.Enrol(t.Context(), token, other, csr); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: no name of an instance: %v", name, err)
		}
	}
}
