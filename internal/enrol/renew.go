package enrol

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// AgentLifetime is how long an agent's certificate is good. An agent renews it when
// two thirds are over, so a host may be away from its controllers for four months.
const AgentLifetime = 365 * 24 * time.Hour

// ErrEarly refuses the renewal of a certificate in the first half of its life: a
// host must not fill the journal.
var ErrEarly = errors.New("certificate is in the first half of its life")

// Signed is a certificate that a host was given in place of its present one. Both are
// good until the host uses it: an agent that died before it had stored the new one
// must not be locked out.
type Signed struct {
	Serial string `json:"serial"`
	// Cert is DER, kept so that a renewal that is asked for again gets the same.
	Cert   []byte    `json:"cert"`
	Issued time.Time `json:"issued"`
	Ends   time.Time `json:"ends"`
}

// Life returns when a certificate of ours was issued, when it is to be renewed, and
// when it ends.
func Life(cert *x509.Certificate) (issued, renew, ends time.Time) {
	issued = cert.NotBefore.Add(backdate)
	return issued, issued.Add(cert.NotAfter.Sub(issued) / 3 * 2), cert.NotAfter
}

// Holds reports whether a certificate with that serial is the host's; fresh is true
// if it is the renewed one, and this its first use: see [Host.Took].
func (h Host) Holds(serial string) (holds, fresh bool) {
	if h.Next != nil && serial == h.Next.Serial {
		return true, true
	}
	return serial == h.Serial, false
}

// Took returns the record after the first use of the renewed certificate: from then
// on the earlier one is refused. Any other serial changes nothing.
func (h Host) Took(serial string) Host {
	if h.Next != nil && serial == h.Next.Serial {
		h.Serial, h.Issued, h.Ends, h.Next = h.Next.Serial, h.Next.Issued, h.Next.Ends, nil
	}
	return h
}

// Renew signs a certificate for a new key of the host and returns the record with
// it, which the caller must save before it answers. Whoever asks has shown the
// host's present certificate. The same key gets the same certificate again, so that
// a lost reply costs nothing. csr is a PKCS #10 request in DER, of which only the
// key is used. Errors: ErrRequest, ErrEarly.
func (a *Authority) Renew(h Host, csr []byte) (Host, []byte, error) {
	req, err := x509.ParseCertificateRequest(csr)
	if err != nil || req.CheckSignature() != nil {
		return h, nil, ErrRequest
	}
	if h.Next != nil && certifies(h.Next.Cert, req.PublicKey) && a.now().Before(h.Next.Ends) {
		return h, h.Next.Cert, nil
	}
	if half := h.Issued.Add(h.Ends.Sub(h.Issued) / 2); a.now().Before(half) {
		return h, nil, fmt.Errorf("renew certificate of host %s before %s: %w", h.Name, half.UTC().Format(time.RFC3339), ErrEarly)
	}
	s, err := a.agentCert(h.Name, req.PublicKey)
	if err != nil {
		return h, nil, err
	}
	h.Next = &s
	return h, s.Cert, nil
}

func certifies(der []byte, key crypto.PublicKey) bool {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return false
	}
	own, ok := cert.PublicKey.(interface{ Equal(x crypto.PublicKey) bool })
	return ok && own.Equal(key)
}

// CheckRenewed reports whether the certificate is one for the host and the key by
// the authority, all in DER but the key, and good at that time.
func CheckRenewed(cert, authority []byte, host string, key crypto.PublicKey, now time.Time) error {
	leaf, err := x509.ParseCertificate(cert)
	if err != nil {
		return fmt.Errorf("parse renewed certificate: %w", err)
	}
	root, err := x509.ParseCertificate(authority)
	if err != nil {
		return fmt.Errorf("parse authority: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return fmt.Errorf("renewed certificate: %w", err)
	}
	name, _, err := Identify(chains)
	if err != nil || name != host || !certifies(cert, key) {
		return fmt.Errorf("renewed certificate for host %s: %w", host, ErrIdentity)
	}
	return nil
}
