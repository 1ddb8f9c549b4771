package enrol

import (
	"bytes"
	"crypto/x509"
	"errors"
	"testing"
	"time"
)

// A year is what docs/design/hosts.md and the guide promise.
func TestLifeOfAnAgentsCertificate(t *testing.T) {
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	a := open(t, vault(t), now)
	s, err := a.agentCert("host-1", mustKey(t).Public())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(s.Cert)
	if err != nil {
		t.Fatal(err)
	}
	issued, renew, ends := Life(cert)
	if !issued.Equal(now) || ends.Sub(now) != 365*24*time.Hour || renew.Sub(now) != AgentLifetime/3*2 {
		t.Errorf("issued %s, to be renewed %s, ends %s", issued, renew, ends)
	}
}

func TestRenewal(t *testing.T) {
	ctx, v := t.Context(), vault(t)
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	a, err := OpenAuthority(ctx, v, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	tok, err := a.MakeToken(ctx, v, "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.Enrol(ctx, v, tok.Text(), "host-1", request(t))
	if err != nil {
		t.Fatal(err)
	}
	h, csr := got.Host, request(t)
	if _, _, err := a.Renew(h, csr); !errors.Is(err, ErrEarly) {
		t.Errorf("at once: %v, want ErrEarly", err)
	}
	now = now.Add(AgentLifetime / 2)
	if _, _, err := a.Renew(h, []byte("no request")); !errors.Is(err, ErrRequest) {
		t.Errorf("bad request: %v, want ErrRequest", err)
	}
	one, cert, err := a.Renew(h, csr)
	if err != nil {
		t.Fatal(err)
	}
	if _, again, err := a.Renew(one, csr); err != nil || !bytes.Equal(cert, again) {
		t.Errorf("the same key got another certificate, %v", err)
	}
	// Another key: the agent has lost the one it asked with. The first renewed
	// certificate was never used, and is void.
	two, other, err := a.Renew(one, request(t))
	if err != nil || bytes.Equal(cert, other) {
		t.Fatalf("another key: %v, or the same certificate", err)
	}
	check := func(h Host, serial string, holds, fresh bool) {
		t.Helper()
		if a, b := h.Holds(serial); a != holds || b != fresh {
			t.Errorf("holds %v, fresh %v; want %v, %v", a, b, holds, fresh)
		}
	}
	check(two, h.Serial, true, false)
	check(two, two.Next.Serial, true, true)
	check(two, one.Next.Serial, false, false)
	used := two.Took(two.Next.Serial)
	check(used, two.Next.Serial, true, false)
	check(used, h.Serial, false, false)
	check(two.Took(h.Serial), two.Next.Serial, true, true)
	if used.Agent != h.Agent || !bytes.Equal(used.BeatKey, h.BeatKey) {
		t.Error("a renewal has changed what beats are sealed with")
	}
	if _, _, err := a.Renew(used, request(t)); !errors.Is(err, ErrEarly) {
		t.Errorf("right after a renewal: %v, want ErrEarly", err)
	}
}

func TestCheckRenewed(t *testing.T) {
	a := open(t, vault(t), time.Now())
	stranger := open(t, vault(t), time.Now())
	key := mustKey(t)
	s, err := a.agentCert("host-1", key.Public())
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := stranger.agentCert("host-1", key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"a good one":     CheckRenewed(s.Cert, a.Cert(), "host-1", key.Public(), time.Now()),
		"another host's": CheckRenewed(s.Cert, a.Cert(), "host-2", key.Public(), time.Now()),
		"another key's":  CheckRenewed(s.Cert, a.Cert(), "host-1", mustKey(t).Public(), time.Now()),
		"a stranger's":   CheckRenewed(foreign.Cert, a.Cert(), "host-1", key.Public(), time.Now()),
		"one that ended": CheckRenewed(s.Cert, a.Cert(), "host-1", key.Public(), time.Now().Add(AgentLifetime+time.Hour)),
		"no certificate": CheckRenewed([]byte("x"), a.Cert(), "host-1", key.Public(), time.Now()),
		"an authority's": CheckRenewed(a.Cert(), a.Cert(), "host-1", key.Public(), time.Now()),
	} {
		if (err == nil) != (name == "a good one") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
