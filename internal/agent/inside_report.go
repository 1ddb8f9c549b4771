package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"relight/internal/agent/keeper"
	"relight/internal/core/fleet"
	"relight/internal/enrol"
	"relight/internal/provider/guest"
)

// guestIdentity is what the agent keeps from its join.
type guestIdentity struct {
	Server string      `json:"server"`
	Epoch  fleet.Epoch `json:"epoch"`
	// Instance is the machine that it was given to: an image that is made of it carries
	// this file, too.
	Instance  string `json:"instance"`
	Cert      []byte `json:"cert"`
	Authority []byte `json:"authority"`
}

// guestKey is the agent's key and the machine that it was made on. It is kept from before
// it is sent, so that a join whose reply was lost is repeated with the same one.
type guestKey struct {
	Instance string `json:"instance"`
	PKCS8    []byte `json:"key"`
}

const guestKeyFile = "guest-key.json"

// ErrImage: the machine was made of an image of another one, and asks to speak for it.
var ErrImage = errors.New("this machine was made of an image of another instance, and that one speaks for the epoch")

// openGuest returns the channel to the controller: it joins once for each epoch, and
// asks for as long as it takes. What another instance has left on this disk counts for
// nothing (S13).
func (g *Guest) openGuest(ctx context.Context) (*channel, error) {
	p := g.opt.Plan
	instance, err := thisInstance(ctx, g.opt.Machine.Sys, g.opt.Metadata)
	if err != nil {
		return nil, err
	}
	mine, from, err := g.ownKey(instance)
	if err != nil {
		return nil, err
	}
	key, err := (&identity{PKCS8: mine.PKCS8}).key()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(g.opt.Dir, identityFile)
	var id guestIdentity
	err = keeper.ReadFile(path, &id)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("agent identity: %w", err)
	}
	if id.Instance != "" && id.Instance != instance {
		from = id.Instance
	}
	if id.Server != p.Server || id.Epoch != p.Epoch || id.Instance != instance {
		if id, err = g.join(ctx, mine); err != nil {
			if from != "" && errors.Is(err, ErrRefused) {
				err = fmt.Errorf("%w: this is %s, the image is of %s; next: end this machine, or launch it with user data of its own: %w", ErrImage, instance, from, err)
			}
			return nil, err
		}
		if err := keeper.WriteFile(path, id, true); err != nil {
			return nil, err
		}
	}
	pair := &tls.Certificate{Certificate: [][]byte{id.Cert}, PrivateKey: key}
	conf, err := enrol.ClientTLS(func() *tls.Certificate { return pair }, id.Authority, time.Now)
	if err != nil {
		return nil, err
	}
	return newChannel(p.Controller, conf, lasts), nil
}

// ownKey is the key that was made on this instance. One that came with an image is left for
// a new one, and from is then the instance that it was made on.
func (g *Guest) ownKey(instance string) (key guestKey, from string, err error) {
	path := filepath.Join(g.opt.Dir, guestKeyFile)
	err = keeper.ReadFile(path, &key)
	switch {
	case err == nil && key.Instance == instance:
		return key, "", nil
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return guestKey{}, "", fmt.Errorf("agent key: %w", err)
	}
	from = key.Instance
	fresh, err := enrol.MakeKey()
	if err != nil {
		return guestKey{}, "", err
	}
	key = guestKey{Instance: instance}
	if key.PKCS8, err = x509.MarshalPKCS8PrivateKey(fresh); err != nil {
		return guestKey{}, "", fmt.Errorf("make agent key: %w", err)
	}
	return key, from, keeper.WriteFile(path, key, true)
}

// lasts: a guest's certificate outlives its epoch.
func lasts() error { return nil }

// join asks once for the certificate of this epoch.
func (g *Guest) join(ctx context.Context, mine guestKey) (guestIdentity, error) {
	p := g.opt.Plan
	token, err := enrol.ParseToken(p.Token)
	if err != nil {
		return guestIdentity{}, err
	}
	key, err := (&identity{PKCS8: mine.PKCS8}).key()
	if err != nil {
		return guestIdentity{}, err
	}
	csr, err := enrol.Request(key)
	if err != nil {
		return guestIdentity{}, err
	}
	c := newChannel(p.Controller, token.FirstContact(time.Now), lasts)
	defer c.close()
	var reply guest.JoinReply
	req := guest.JoinRequest{V: guest.Version, Server: p.Server, Epoch: p.Epoch, Instance: mine.Instance, Token: p.Token, CSR: csr}
	if err := c.exchange(ctx, guest.PathJoin, req, func(body io.Reader) error { return guest.Decode(body, &reply) }); err != nil {
		return guestIdentity{}, fmt.Errorf("join %s: %w", p.Controller, err)
	}
	if err := token.CheckAuthority(reply.Authority); err != nil {
		return guestIdentity{}, fmt.Errorf("join %s: %w", p.Controller, err)
	}
	return guestIdentity{Server: p.Server, Epoch: p.Epoch, Instance: mine.Instance, Cert: reply.Cert, Authority: reply.Authority}, nil
}

// reporting reports at once what is new, and all of it at its pace: each report is a
// beat. What keeps a report away is said once, and tried again for ever.
func (g *Guest) reporting(ctx context.Context) {
	var c *channel
	state := trouble{log: g.opt.Log, what: "report to the controller"}
	wait := newBackOff()
	tick := time.NewTicker(g.opt.ReportEvery)
	defer tick.Stop()
	defer func() {
		if c != nil {
			c.close()
		}
	}()
	for {
		var err error
		if c == nil {
			if c, err = g.openGuest(ctx); err == nil {
				g.line.Store(c)
			}
		}
		if err == nil {
			err = c.send(ctx, guest.PathReport, g.report())
		}
		if state.note(ctx, err) {
			if !wait.pause(ctx) {
				return
			}
			if errors.Is(err, ErrRefused) && !pause(ctx, g.opt.ReportEvery) {
				return // a refusal does not change by asking at once again
			}
			continue
		}
		wait.reset()
		select {
		case <-ctx.Done():
			return
		case <-g.news:
		case <-tick.C:
		}
	}
}
