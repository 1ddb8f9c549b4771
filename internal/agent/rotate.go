package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"relight/internal/agent/keeper"
	"relight/internal/enrol"
	"relight/internal/provider/onprem/link"
)

const (
	nextKeyFile = "key-next.json"
	// renewLook is how often the wall clock is looked at: it may be set, and timers
	// stand still while a host sleeps.
	renewLook = time.Minute
	// firstRetry and lastRetry bound the pause after a renewal that failed.
	firstRetry = time.Minute
	lastRetry  = time.Hour
)

// renewal decides when a certificate is renewed. It is pure: the times are handed
// in, and so is the jitter, from 0 to 1.
type renewal struct {
	due   time.Time // two thirds of the certificate's life are over
	not   time.Time // no try before this
	pause time.Duration
}

func renewalOf(cert *x509.Certificate) renewal {
	_, due, _ := enrol.Life(cert)
	return renewal{due: due}
}

// wait is how long there is nothing to do; 0 means that it is time to try.
func (r renewal) wait(now time.Time) time.Duration {
	return max(r.due.Sub(now), r.not.Sub(now), 0)
}

// failed puts off the next try, each time for twice as long.
func (r renewal) failed(now time.Time, jitter float64) renewal {
	r.pause = min(max(2*r.pause, firstRetry), lastRetry)
	r.not = now.Add(r.pause/2 + time.Duration(jitter*float64(r.pause/2)))
	return r
}

// rotation is the agent's certificate and its renewals.
type rotation struct {
	opt Options

	mu   sync.Mutex
	id   identity
	cert *tls.Certificate
}

func newRotation(o Options, id *identity) (*rotation, error) {
	r := &rotation{opt: o}
	return r, r.use(*id)
}

// use has the next handshakes show the identity's certificate.
func (r *rotation) use(id identity) error {
	key, err := id.key()
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(id.Cert)
	if err != nil {
		return fmt.Errorf("agent identity: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.id, r.cert = id, &tls.Certificate{Certificate: [][]byte{id.Cert}, PrivateKey: key, Leaf: leaf}
	return nil
}

func (r *rotation) present() (identity, *tls.Certificate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.id, r.cert
}

func (r *rotation) tls() (*tls.Config, error) {
	id, _ := r.present()
	return enrol.ClientTLS(func() *tls.Certificate {
		_, cert := r.present()
		return cert
	}, id.Authority, r.opt.Now)
}

func (r *rotation) ended() error {
	id, _ := r.present()
	return id.ended(r.opt.Now())
}

// rotate renews the certificate for as long as ctx lasts.
func (a *Agent) rotate(ctx context.Context) {
	_, cert := a.rotation.present()
	next := renewalOf(cert.Leaf)
	for {
		if wait := next.wait(a.opt.Now()); wait > 0 {
			if !pause(ctx, min(wait, renewLook)) {
				return
			}
			continue
		}
		if err := a.renew(ctx); err != nil {
			if ctx.Err() != nil {
				return
			}
			next = next.failed(a.opt.Now(), rand.Float64()) //nolint:gosec // jitter
			a.opt.Log.Error("certificate not renewed", "ends", cert.Leaf.NotAfter, "again", next.not, "error", err)
			continue
		}
		_, cert = a.rotation.present()
		next = renewalOf(cert.Leaf)
	}
}

// renew gets a certificate for a new key. What has to survive a crash is on the disk
// before each step that counts on it: the new key before it is sent, so that the
// controller answers a second try with the same certificate; key and certificate, as
// one file, before their first use, which makes the earlier one worthless.
func (a *Agent) renew(ctx context.Context) error {
	now, _ := a.rotation.present()
	next := now
	var err error
	if next.PKCS8, err = nextKey(a.opt.Dir, now.PKCS8); err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	key, err := next.key()
	if err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	csr, err := enrol.Request(key)
	if err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	var reply link.RenewReply
	err = a.channel.exchange(ctx, link.PathRenew, link.RenewRequest{V: link.Version, CSR: csr}, func(body io.Reader) error {
		return link.Decode(body, link.MaxBody, &reply)
	})
	if err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	// One that would not be let in must never replace one that is.
	if err := enrol.CheckRenewed(reply.Cert, now.Authority, now.Host, key.Public(), a.opt.Now()); err != nil {
		return err
	}
	next.Cert = reply.Cert
	if err := keeper.WriteFile(filepath.Join(a.opt.Dir, identityFile), &next, true); err != nil {
		return fmt.Errorf("store renewed certificate: %w", err)
	}
	for _, old := range []string{keyFile, nextKeyFile} {
		_ = os.Remove(filepath.Join(a.opt.Dir, old)) // one that stays is made anew when it is needed
	}
	if err := a.rotation.use(next); err != nil {
		return err
	}
	a.channel.renew()
	a.tell() // its first use
	_, cert := a.rotation.present()
	a.opt.Log.Info("certificate renewed", "ends", cert.Leaf.NotAfter)
	return nil
}

// nextKey returns the key for a renewal, from an earlier try if there was one.
func nextKey(dir string, present []byte) ([]byte, error) {
	key, err := loadKey(dir, nextKeyFile)
	if !errors.Is(err, keeper.ErrDamaged) && (err != nil || !slices.Equal(key, present)) {
		return key, err
	}
	// It is damaged, or the agent died after it had stored the last renewal and
	// before it tidied up.
	if err := os.Remove(filepath.Join(dir, nextKeyFile)); err != nil {
		return nil, err
	}
	return loadKey(dir, nextKeyFile)
}
