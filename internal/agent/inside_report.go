package agent

import (
	"context"
	"crypto/tls"
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
	Server    string      `json:"server"`
	Epoch     fleet.Epoch `json:"epoch"`
	Cert      []byte      `json:"cert"`
	Authority []byte      `json:"authority"`
}

// openGuest returns the channel to the controller: it joins once for each epoch, and
// asks for as long as it takes.
func (g *Guest) openGuest(ctx context.Context) (*channel, error) {
	p := g.opt.Plan
	pkcs8, err := loadKey(g.opt.Dir, keyFile)
	if err != nil {
		return nil, err
	}
	key, err := (&identity{PKCS8: pkcs8}).key()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(g.opt.Dir, identityFile)
	var id guestIdentity
	err = keeper.ReadFile(path, &id)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("agent identity: %w", err)
	}
	if id.Server != p.Server || id.Epoch != p.Epoch {
		if id, err = g.join(ctx, pkcs8); err != nil {
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

// lasts: a guest's certificate outlives its epoch.
func lasts() error { return nil }

// join asks once for the certificate of this epoch.
func (g *Guest) join(ctx context.Context, pkcs8 []byte) (guestIdentity, error) {
	p := g.opt.Plan
	token, err := enrol.ParseToken(p.Token)
	if err != nil {
		return guestIdentity{}, err
	}
	key, err := (&identity{PKCS8: pkcs8}).key()
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
	req := guest.JoinRequest{V: guest.Version, Server: p.Server, Epoch: p.Epoch, Token: p.Token, CSR: csr}
	if err := c.exchange(ctx, guest.PathJoin, req, func(body io.Reader) error { return guest.Decode(body, &reply) }); err != nil {
		return guestIdentity{}, fmt.Errorf("join %s: %w", p.Controller, err)
	}
	if err := token.CheckAuthority(reply.Authority); err != nil {
		return guestIdentity{}, fmt.Errorf("join %s: %w", p.Controller, err)
	}
	return guestIdentity{Server: p.Server, Epoch: p.Epoch, Cert: reply.Cert, Authority: reply.Authority}, nil
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
