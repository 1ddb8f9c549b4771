package enrol

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"relight/internal/beat"
)

// Host is the record of an enrolled host. Deleting it revokes the host.
type Host struct {
	Name  string       `json:"name"`
	Agent beat.AgentID `json:"agent"`
	// BeatKey seals the host's beats; 32 bytes, secret.
	BeatKey []byte `json:"beatKey"`
	// Serial is that of the host's present certificate, in hexadecimal. An earlier
	// certificate is refused.
	Serial string    `json:"serial"`
	Joined time.Time `json:"joined"`
	// Issued and Ends are the present certificate's.
	Issued time.Time `json:"issued"`
	Ends   time.Time `json:"ends"`
	// Next is a renewed certificate that was not used yet, or nil.
	Next *Signed `json:"next,omitempty"`
	// PeerAddr is where the host's agent answers its peers, "ip:port", or empty.
	PeerAddr string `json:"peerAddr,omitempty"`
}

// Key returns the host's beat key.
func (h Host) Key() (k beat.Key) {
	copy(k[:], h.BeatKey)
	return k
}

// Registry keeps the records of enrolled hosts for all controllers.
type Registry interface {
	// Hosts returns all records.
	Hosts(ctx context.Context) ([]Host, error)
	// SaveHost writes the record durably, in place of an older one of that name.
	SaveHost(ctx context.Context, host Host) error
	// RemoveHost deletes the record; an absent one is no error.
	RemoveHost(ctx context.Context, name string) error
	// ChangeHost changes a record durably and atomically among all controllers, or
	// returns ErrAbsent. An error of change is returned and nothing is written.
	// change must be pure: it may be called again.
	ChangeHost(ctx context.Context, name string, change func(Host) (Host, error)) error
}

// Errors about hosts.
var (
	// ErrHostName refuses a name that cannot stand in a path, an URI and a file name.
	ErrHostName = errors.New("host name must be 1 to 63 characters of a-z, 0-9, dash and dot")
	// ErrRequest refuses a certificate request that does not verify.
	ErrRequest = errors.New("certificate request is not valid")
	// ErrIdentity refuses a connection without a host's certificate.
	ErrIdentity = errors.New("no certificate of a host")
)

// CheckHost reports whether a host's name can be used.
func CheckHost(name string) error {
	ok := len(name) > 0 && len(name) <= 63 && name[0] != '.' && name[0] != '-'
	for _, c := range name {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.')
	}
	if !ok {
		return fmt.Errorf("host %.80q: %w", name, ErrHostName)
	}
	return nil
}

// Granted is what a host gets at enrolment.
type Granted struct {
	Host Host
	// Cert is the host's certificate in DER.
	Cert []byte
}

// Enrol spends the token, signs the host's certificate and returns its record,
// which the caller must save before it answers. csr is a PKCS #10 request in DER,
// of which only the key is used.
func (a *Authority) Enrol(ctx context.Context, vault Vault, token, host string, csr []byte) (Granted, error) {
	if err := CheckHost(host); err != nil {
		return Granted{}, err
	}
	t, err := ParseToken(token)
	if err != nil {
		return Granted{}, err
	}
	req, err := x509.ParseCertificateRequest(csr)
	if err != nil || req.CheckSignature() != nil {
		return Granted{}, ErrRequest
	}
	sum := sha256.Sum256(req.RawSubjectPublicKeyInfo)
	if err := t.spend(ctx, vault, host, hex.EncodeToString(sum[:]), a.now()); err != nil {
		return Granted{}, fmt.Errorf("enrol host %s: %w", host, err)
	}
	cert, err := a.agentCert(host, req.PublicKey)
	if err != nil {
		return Granted{}, err
	}
	h := Host{Name: host, Serial: cert.Serial, Joined: cert.Issued, Issued: cert.Issued, Ends: cert.Ends, BeatKey: make([]byte, beat.KeySize)}
	var id [8]byte
	for _, b := range [][]byte{h.BeatKey, id[:]} {
		if _, err := rand.Read(b); err != nil {
			return Granted{}, fmt.Errorf("enrol host %s: %w", host, err)
		}
	}
	// Random, so that controllers need not agree on a counter; never zero.
	h.Agent = beat.AgentID(binary.BigEndian.Uint64(id[:]) | 1)
	return Granted{Host: h, Cert: cert.Cert}, nil
}

// Identify returns the host's name and the serial number of a certificate that
// TLS has verified already. The caller compares the serial with the record.
func Identify(chains [][]*x509.Certificate) (name, serial string, err error) {
	if len(chains) == 0 || len(chains[0]) == 0 {
		return "", "", ErrIdentity
	}
	leaf := chains[0][0]
	if len(leaf.URIs) != 1 || leaf.URIs[0].Scheme != "relight" || leaf.URIs[0].Host != "host" {
		return "", "", ErrIdentity
	}
	name = strings.TrimPrefix(leaf.URIs[0].Path, "/")
	if err := CheckHost(name); err != nil {
		return "", "", ErrIdentity
	}
	return name, leaf.SerialNumber.Text(16), nil
}
