package enrol

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"time"
)

// ControllerName is the DNS name in every controller's certificate. Agents
// verify this role and not the address that they dialled, so that relays, NAT and
// a moved controller change nothing.
const ControllerName = "controller.relight.internal"

const (
	authorityYears  = 20
	controllerYears = 1
	// backdate makes fresh certificates valid on hosts whose clocks are behind.
	backdate  = 24 * time.Hour
	vaultName = "authority"
)

// Authority is the controllers' own certificate authority.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	now  func() time.Time
}

// stored is the authority in the vault.
type stored struct {
	Cert []byte `json:"cert"` // DER
	Key  []byte `json:"key"`  // PKCS #8
}

// OpenAuthority loads the authority from the vault and makes it at the first
// call ever. now is the wall clock that goes into certificates.
func OpenAuthority(ctx context.Context, vault Vault, now func() time.Time) (*Authority, error) {
	data, err := vault.Load(ctx, vaultName)
	if errors.Is(err, ErrAbsent) {
		fresh, makeErr := makeAuthority(now())
		if makeErr != nil {
			return nil, makeErr
		}
		err = vault.Save(ctx, vaultName, fresh)
		if err == nil || errors.Is(err, ErrExists) {
			// Another controller may have been first: what the vault says counts.
			data, err = vault.Load(ctx, vaultName)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open certificate authority: %w", err)
	}
	return parseAuthority(data, now)
}

func makeAuthority(now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make certificate authority: %w", err)
	}
	tmpl := template("relight authority", now, now.AddDate(authorityYears, 0, 0))
	tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.MaxPathLenZero = true, true, true
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make certificate authority: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make certificate authority: %w", err)
	}
	return json.Marshal(stored{Cert: der, Key: pkcs8})
}

func parseAuthority(data []byte, now func() time.Time) (*Authority, error) {
	var s stored
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("parse certificate authority: %w", err)
	}
	cert, err := x509.ParseCertificate(s.Cert)
	if err != nil {
		return nil, fmt.Errorf("parse certificate authority: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(s.Key)
	if err != nil {
		return nil, fmt.Errorf("parse certificate authority: %w", err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("parse certificate authority: key is a %T", key)
	}
	return &Authority{cert: cert, key: ec, now: now}, nil
}

// template fills what all certificates share. Serial numbers are random, 127 bits.
func template(name string, now, ends time.Time) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(fmt.Sprintf("read random numbers: %v", err))
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-backdate),
		NotAfter:     ends,
	}
}

// Cert returns the authority's certificate in DER.
func (a *Authority) Cert() []byte { return a.cert.Raw }

// Fingerprint is the SHA-256 of the authority's certificate in hexadecimal. It
// goes into join tokens.
func (a *Authority) Fingerprint() string { return Fingerprint(a.cert.Raw) }

// Fingerprint is the SHA-256 of a certificate in hexadecimal.
func Fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// Pool returns the authority as the only trusted root.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// ControllerCert makes a certificate for a controller: ControllerName and the
// given DNS names and IP addresses, which people and API clients dial.
func (a *Authority) ControllerCert(sans []string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make controller certificate: %w", err)
	}
	tmpl := template("relight controller", a.now(), a.now().AddDate(controllerYears, 0, 0))
	tmpl.DNSNames = []string{ControllerName}
	for _, san := range sans {
		if ip := net.ParseIP(san); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, san)
		}
	}
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	// Server authentication only: a controller's key must not open a host's door.
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := a.sign(tmpl, key.Public())
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make controller certificate: %w", err)
	}
	// The authority goes along, because an agent at first contact knows only its
	// fingerprint.
	return tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}, nil
}

// agentCert signs a certificate for the host. Nothing is taken from the request
// but its key.
func (a *Authority) agentCert(host string, key crypto.PublicKey) (Signed, error) {
	now := a.now()
	tmpl := template(host, now, now.Add(AgentLifetime))
	tmpl.URIs = []*url.URL{hostURI(host)}
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	der, err := a.sign(tmpl, key)
	if err != nil {
		return Signed{}, fmt.Errorf("make certificate of host %s: %w", host, err)
	}
	return Signed{Serial: tmpl.SerialNumber.Text(16), Cert: der, Issued: now, Ends: tmpl.NotAfter}, nil
}

func (a *Authority) sign(tmpl *x509.Certificate, key crypto.PublicKey) ([]byte, error) {
	// A leaf that outlives its authority verifies nowhere.
	if tmpl.NotAfter.After(a.cert.NotAfter) {
		tmpl.NotAfter = a.cert.NotAfter
	}
	return x509.CreateCertificate(rand.Reader, tmpl, a.cert, key, a.key)
}

func hostURI(host string) *url.URL {
	return &url.URL{Scheme: "relight", Host: "host", Path: "/" + host}
}
