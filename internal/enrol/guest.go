package enrol

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"

	"relight/internal/core/fleet"
)

// Guests enrols guest agents: each epoch of a server once, with a token that goes to
// its instance in user data. A guest's certificate speaks of its own server and epoch,
// and of no other (S13); as a host's it is refused.
type Guests struct {
	authority *Authority
	vault     Vault
	key       []byte
}

// GuestName is whose guest agent speaks.
type GuestName struct {
	Server string
	Epoch  fleet.Epoch
	// Instance is the machine that the agent runs on, such as i-0abc. A machine that was
	// made of its image is another one. It is empty for the agent of an older image, which
	// does not tell it.
	Instance string
}

// CheckInstance refuses what is no name of a machine. None is one, see GuestName.
func CheckInstance(id string) error {
	if len(id) > 64 || strings.Trim(id, "-0123456789abcdefghijklmnopqrstuvwxyz") != "" {
		return ErrRequest
	}
	return nil
}

const (
	guestKeyName = "guest-key"
	guestKeySize = 32
	// guestYears: a guest's certificate is worth nothing once its epoch is over, and an
	// epoch may last for years.
	guestYears = authorityYears
)

// Guests opens the enrolment of guests. The first controller ever draws the key that
// tokens are made of.
func (a *Authority) Guests(ctx context.Context, vault Vault) (*Guests, error) {
	key, err := vault.Load(ctx, guestKeyName)
	if errors.Is(err, ErrAbsent) {
		fresh := make([]byte, guestKeySize)
		if _, err := rand.Read(fresh); err != nil {
			return nil, fmt.Errorf("make the guests' key: %w", err)
		}
		if err := vault.Save(ctx, guestKeyName, fresh); err != nil && !errors.Is(err, ErrExists) {
			return nil, fmt.Errorf("make the guests' key: %w", err)
		}
		key, err = vault.Load(ctx, guestKeyName)
	}
	if err != nil {
		return nil, fmt.Errorf("read the guests' key: %w", err)
	}
	if len(key) != guestKeySize {
		return nil, fmt.Errorf("the guests' key has %d bytes", len(key))
	}
	return &Guests{authority: a, vault: vault, key: key}, nil
}

// Token is the token of a server's epoch. It is made of them and of a secret key, so
// that a launch that is repeated carries the same (S7), and nothing is stored before
// it is used.
func (g *Guests) Token(server string, epoch fleet.Epoch) Token {
	mac := hmac.New(sha256.New, g.key)
	fmt.Fprintf(mac, "guest\x00%s\x00%d", server, epoch)
	t := Token{authority: g.authority.Fingerprint()}
	copy(t.secret[:], mac.Sum(nil))
	return t
}

// Authority is the certificate that guests trust, in DER.
func (g *Guests) Authority() []byte { return g.authority.Cert() }

// Enrol spends the token of a server's epoch and returns the guest's certificate in
// DER. The same key on the same instance may spend it again, for a reply that was lost or
// a guest that has booted anew. Errors: ErrToken, ErrTokenUsed, ErrRequest.
func (g *Guests) Enrol(ctx context.Context, token string, who GuestName, csr []byte) ([]byte, error) {
	server, epoch := who.Server, who.Epoch
	t, err := ParseToken(token)
	if err != nil {
		return nil, err
	}
	want := g.Token(server, epoch)
	if epoch == 0 || CheckHost(server) != nil || !hmac.Equal(t.secret[:], want.secret[:]) {
		return nil, ErrToken
	}
	req, err := x509.ParseCertificateRequest(csr)
	if err != nil || req.CheckSignature() != nil || CheckInstance(who.Instance) != nil {
		return nil, ErrRequest
	}
	sum := sha256.Sum256(req.RawSubjectPublicKeyInfo)
	used := fmt.Sprintf("guest/%s/%d", server, epoch)
	user := []byte(strings.TrimSpace(hex.EncodeToString(sum[:]) + " " + who.Instance))
	err = g.vault.Save(ctx, used, user)
	if errors.Is(err, ErrExists) {
		before, loadErr := g.vault.Load(ctx, used)
		if err = loadErr; err == nil && string(before) != string(user) {
			err = ErrTokenUsed
		}
	}
	if err != nil {
		return nil, fmt.Errorf("enrol the guest of %s epoch %d: %w", server, epoch, err)
	}
	now := g.authority.now()
	tmpl := template(fmt.Sprintf("guest of %s", server), now, now.AddDate(guestYears, 0, 0))
	tmpl.URIs = []*url.URL{{Scheme: "relight", Host: "guest", Path: path.Join("/", server, fmt.Sprint(epoch), who.Instance)}}
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	der, err := g.authority.sign(tmpl, req.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of the guest of %s: %w", server, err)
	}
	return der, nil
}

// IdentifyGuest returns whose guest a certificate speaks for that TLS has verified
// already. Errors: ErrIdentity.
func IdentifyGuest(chains [][]*x509.Certificate) (who GuestName, err error) {
	if len(chains) == 0 || len(chains[0]) == 0 || len(chains[0][0].URIs) != 1 {
		return who, ErrIdentity
	}
	u := chains[0][0].URIs[0]
	server, rest, ok := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	text, instance, _ := strings.Cut(rest, "/")
	n, parseErr := strconv.ParseUint(text, 10, 64)
	if u.Scheme != "relight" || u.Host != "guest" || !ok || parseErr != nil || n == 0 || CheckHost(server) != nil || CheckInstance(instance) != nil {
		return who, ErrIdentity
	}
	return GuestName{Server: server, Epoch: fleet.Epoch(n), Instance: instance}, nil
}
