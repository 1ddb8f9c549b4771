package enrol

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrAuthority refuses a controller at first contact whose authority is not the
// one that the token names.
var ErrAuthority = errors.New("controller is not of the authority that the token names")

// ServerTLS is a controller's TLS configuration. Clients may show a certificate,
// which is then verified; whoever demands one checks with Identify. The
// controller's own certificate is made anew when two thirds of its life are over.
func (a *Authority) ServerTLS(sans []string) *tls.Config {
	var (
		mu    sync.Mutex
		cert  *tls.Certificate
		renew time.Time
	)
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ClientAuth: tls.VerifyClientCertIfGiven,
		ClientCAs:  a.Pool(),
		Time:       a.now,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			mu.Lock()
			defer mu.Unlock()
			if cert == nil || a.now().After(renew) {
				fresh, err := a.ControllerCert(sans)
				if err != nil {
					return nil, err
				}
				cert, renew = &fresh, a.now().AddDate(0, controllerYears*8, 0)
			}
			return cert, nil
		},
	}
}

// ClientTLS is an agent's TLS configuration after enrolment: present is asked for its
// certificate at each handshake, because it is renewed now and then; authority is
// the DER of the only root that it trusts, now its wall clock.
func ClientTLS(present func() *tls.Certificate, authority []byte, now func() time.Time) (*tls.Config, error) {
	root, err := x509.ParseCertificate(authority)
	if err != nil {
		return nil, fmt.Errorf("parse authority: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: ControllerName,
		RootCAs:    pool,
		Time:       now,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return present(), nil
		},
	}, nil
}

// FirstContact is an agent's TLS configuration before enrolment: the controller
// must show an authority with the token's fingerprint and a certificate by it. now
// is the agent's wall clock.
func (t Token) FirstContact(now func() time.Time) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: ControllerName,
		// The root is known by its fingerprint only, so the chain is verified by
		// hand below instead of by the library.
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection verifies
		VerifyConnection: func(cs tls.ConnectionState) error {
			for _, c := range cs.PeerCertificates {
				if Fingerprint(c.Raw) != t.authority {
					continue
				}
				pool := x509.NewCertPool()
				pool.AddCert(c)
				_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{
					Roots: pool, DNSName: ControllerName, CurrentTime: now(),
					KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
				})
				if err != nil {
					return fmt.Errorf("%w: %w", ErrAuthority, err)
				}
				return nil
			}
			return ErrAuthority
		},
	}
}

// CheckAuthority reports whether the certificate is the authority that the token
// names. The join reply carries it; trusting it unseen would undo FirstContact.
func (t Token) CheckAuthority(der []byte) error {
	if Fingerprint(der) != t.authority {
		return ErrAuthority
	}
	return nil
}

// MakeKey makes an agent's private key.
func MakeKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make agent key: %w", err)
	}
	return key, nil
}

// Request makes the certificate request for the key, in DER.
func Request(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	return der, nil
}
