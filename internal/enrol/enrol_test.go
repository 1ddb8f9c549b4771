package enrol

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func open(t *testing.T, v Vault, now time.Time) *Authority {
	t.Helper()
	a, err := OpenAuthority(t.Context(), v, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func vault(t *testing.T) *DirVault {
	t.Helper()
	v, err := NewDirVault(filepath.Join(t.TempDir(), "vault"))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mustKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := MakeKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func request(t *testing.T) []byte {
	t.Helper()
	csr, err := Request(mustKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func TestOneAuthorityForAllControllers(t *testing.T) {
	v := vault(t)
	var wg sync.WaitGroup
	prints := make([]string, 8)
	for i := range prints {
		wg.Go(func() {
			a, err := OpenAuthority(context.Background(), v, time.Now)
			if err != nil {
				t.Error(err)
				return
			}
			prints[i] = a.Fingerprint()
		})
	}
	wg.Wait()
	for _, p := range prints {
		if p != prints[0] || p == "" {
			t.Fatalf("authorities differ: %q", prints)
		}
	}
	info, err := os.Stat(filepath.Join(v.dir, vaultName))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the authority's file has mode %v, want 0600", info.Mode().Perm())
	}
}

func TestTokens(t *testing.T) {
	ctx, v, now := t.Context(), vault(t), time.Now()
	a := open(t, v, now)
	make := func(host string) string {
		tok, err := a.MakeToken(ctx, v, host, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return tok.Text()
	}
	enrol := func(a *Authority, token, host string, csr []byte) error {
		_, err := a.Enrol(ctx, v, token, host, csr)
		return err
	}
	csr, other := request(t), request(t)

	if err := enrol(a, make("")[:40], "host-1", csr); !errors.Is(err, ErrToken) {
		t.Errorf("half a token: %v, want ErrToken", err)
	}
	unknown := Token{authority: a.Fingerprint()}
	if err := enrol(a, unknown.Text(), "host-1", csr); !errors.Is(err, ErrToken) {
		t.Errorf("unknown token: %v, want ErrToken", err)
	}
	if err := enrol(a, make("host-2"), "host-1", csr); !errors.Is(err, ErrTokenHost) {
		t.Errorf("another host's token: %v, want ErrTokenHost", err)
	}
	late := open(t, v, now.Add(time.Hour))
	if err := enrol(late, make(""), "host-1", csr); !errors.Is(err, ErrTokenExpired) {
		t.Errorf("expired token: %v, want ErrTokenExpired", err)
	}
	if err := enrol(a, make(""), "../host", csr); !errors.Is(err, ErrHostName) {
		t.Errorf("bad name: %v, want ErrHostName", err)
	}
	if err := enrol(a, make(""), "host-1", []byte("no request")); !errors.Is(err, ErrRequest) {
		t.Errorf("bad request: %v, want ErrRequest", err)
	}

	tok := make("")
	if err := enrol(a, tok, "host-1", csr); err != nil {
		t.Fatalf("first use: %v", err)
	}
	if err := enrol(a, tok, "host-1", csr); err != nil {
		t.Errorf("the same key again, after a lost reply: %v", err)
	}
	if err := enrol(a, tok, "host-1", other); !errors.Is(err, ErrTokenUsed) {
		t.Errorf("another key: %v, want ErrTokenUsed", err)
	}
	if err := enrol(a, tok, "host-2", csr); !errors.Is(err, ErrTokenUsed) {
		t.Errorf("the same key under another name: %v, want ErrTokenUsed", err)
	}
}

// handshake runs TLS over a pipe of loopback and returns both sides' errors and
// the server's view of the client.
func handshake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	type result struct {
		state tls.ConnectionState
		err   error
	}
	done := make(chan result, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			done <- result{err: err}
			return
		}
		s := tls.Server(c, server)
		err = s.Handshake()
		done <- result{s.ConnectionState(), err}
		_ = s.Close()
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), client)
	if err == nil {
		_, _ = c.Read(make([]byte, 1))
		_ = c.Close()
	}
	r := <-done
	return r.state, errors.Join(err, r.err)
}

func TestTrust(t *testing.T) {
	ctx, v := t.Context(), vault(t)
	a := open(t, v, time.Now())
	stranger := open(t, vault(t), time.Now())
	tok, err := a.MakeToken(ctx, v, "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := handshake(t, a.ServerTLS(nil), tok.FirstContact(time.Now)); err != nil {
		t.Errorf("first contact: %v", err)
	}
	if _, err := handshake(t, stranger.ServerTLS(nil), tok.FirstContact(time.Now)); !errors.Is(err, ErrAuthority) {
		t.Errorf("a stranger at first contact: %v, want ErrAuthority", err)
	}

	key, err := MakeKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := Request(key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.Enrol(ctx, v, tok.Text(), "host-1", csr)
	if err != nil {
		t.Fatal(err)
	}
	shown := &tls.Certificate{Certificate: [][]byte{got.Cert}, PrivateKey: key}
	client, err := ClientTLS(func() *tls.Certificate { return shown }, a.Cert(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	state, err := handshake(t, a.ServerTLS([]string{"127.0.0.1"}), client)
	if err != nil {
		t.Fatalf("enrolled host: %v", err)
	}
	name, serial, err := Identify(state.VerifiedChains)
	if err != nil || name != "host-1" || serial != got.Host.Serial {
		t.Errorf("identified %q %q %v, want host-1 with its serial", name, serial, err)
	}
	if _, err := handshake(t, stranger.ServerTLS(nil), client); err == nil {
		t.Error("an enrolled host trusts a stranger")
	}
	// A host's certificate must not pass for a controller's.
	fake := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{got.Cert, a.Cert()}, PrivateKey: key}}}
	if _, err := handshake(t, fake, client); err == nil {
		t.Error("a host passes for a controller")
	}
	if _, err := handshake(t, fake, tok.FirstContact(time.Now)); !errors.Is(err, ErrAuthority) {
		t.Errorf("a host passes for a controller at first contact: %v", err)
	}
	if _, _, err := Identify(nil); !errors.Is(err, ErrIdentity) {
		t.Errorf("no certificate: %v, want ErrIdentity", err)
	}
	plain, err := x509.ParseCertificate(a.Cert())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Identify([][]*x509.Certificate{{plain}}); !errors.Is(err, ErrIdentity) {
		t.Errorf("a certificate that names no host: %v, want ErrIdentity", err)
	}
	// A controller's certificate must not pass for a host's.
	cert, err := a.ControllerCert(nil)
	if err != nil {
		t.Fatal(err)
	}
	shown = &cert
	if _, err := handshake(t, a.ServerTLS(nil), client); err == nil {
		t.Error("a controller's certificate passes for a host's")
	}
}
