package agent

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"relight/internal/agent/keeper"
	"relight/internal/beat"
	"relight/internal/enrol"
	"relight/internal/provider/onprem/link"
)

const (
	keyFile      = "key.json"
	identityFile = "identity.json"
)

// identity is what the agent keeps from its enrolment.
type identity struct {
	Host      string       `json:"host"`
	Cert      []byte       `json:"cert"`
	Authority []byte       `json:"authority"`
	Agent     beat.AgentID `json:"agent"`
	BeatKey   []byte       `json:"beatKey"`
	BeatAddr  string       `json:"beatAddr,omitempty"`
	// PKCS8 is the private key, beside its certificate so that both change as one. It
	// is also kept in a file of its own from before it is sent, so that a join or a
	// renewal whose reply was lost is repeated with the same key.
	PKCS8 []byte `json:"key,omitempty"`
}

// Errors of a join.
var (
	// ErrNoToken: the host is not enrolled and was given no token.
	ErrNoToken = errors.New("this host is not enrolled and has no join token")
	// ErrRefused: the controller refused the join or the certificate.
	ErrRefused = errors.New("refused by the controller")
	// ErrEnded: the host's certificate has ended. Nothing but a new token helps.
	ErrEnded = errors.New("the certificate of this host has ended")
	// ErrOtherHost: the directory holds the identity of a host of another name.
	ErrOtherHost = errors.New("the directory belongs to another host's agent")
)

func (id *identity) key() (*ecdsa.PrivateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(id.PKCS8)
	if err != nil {
		return nil, fmt.Errorf("parse agent key: %w", err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("parse agent key: it is a %T", key)
	}
	return ec, nil
}

// openIdentity loads the identity, or joins the controller once with the token.
func openIdentity(ctx context.Context, o Options) (*identity, error) {
	var id identity
	err := keeper.ReadFile(filepath.Join(o.Dir, identityFile), &id)
	if errors.Is(err, os.ErrNotExist) {
		return join(ctx, o)
	}
	if err != nil {
		return nil, fmt.Errorf("agent identity: %w", err)
	}
	if id.Host != o.Name {
		return nil, fmt.Errorf("agent identity: %w, %s", ErrOtherHost, id.Host)
	}
	if id.PKCS8 == nil {
		if id.PKCS8, err = loadKey(o.Dir, keyFile); err != nil {
			return nil, err
		}
	}
	if err := id.ended(o.Now()); err != nil {
		if o.Token == "" {
			return nil, err
		}
		o.Log.Info("host is enrolled anew", "because", err)
		return join(ctx, o)
	}
	return &id, nil
}

// ended is an error that says what to do if the certificate has ended.
func (id *identity) ended(now time.Time) error {
	cert, err := x509.ParseCertificate(id.Cert)
	if err != nil {
		return fmt.Errorf("agent identity: %w", err)
	}
	if now.Before(cert.NotAfter) {
		return nil
	}
	return fmt.Errorf("%w, on %s; to enrol it anew: relight host token %s > token, then start the agent with --token-file token",
		ErrEnded, cert.NotAfter.UTC().Format(time.DateOnly), id.Host)
}

// loadKey returns the key of a file in PKCS #8, made at the first call.
func loadKey(dir, name string) ([]byte, error) {
	var pkcs8 []byte
	path := filepath.Join(dir, name)
	err := keeper.ReadFile(path, &pkcs8)
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return pkcs8, err
	}
	key, err := enrol.MakeKey()
	if err != nil {
		return nil, err
	}
	if pkcs8, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		return nil, fmt.Errorf("make agent key: %w", err)
	}
	return pkcs8, keeper.WriteFile(path, pkcs8, true)
}

func join(ctx context.Context, o Options) (*identity, error) {
	if o.Token == "" {
		return nil, fmt.Errorf("host %s: %w", o.Name, ErrNoToken)
	}
	token, err := enrol.ParseToken(o.Token)
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	id := &identity{Host: o.Name}
	if id.PKCS8, err = loadKey(o.Dir, keyFile); err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	key, err := id.key()
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	csr, err := enrol.Request(key)
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	var reply link.JoinReply
	req := link.JoinRequest{V: link.Version, Token: o.Token, Host: o.Name, CSR: csr}
	if err := ask(ctx, o, token, req, &reply); err != nil {
		return nil, fmt.Errorf("join %s: %w", o.Controller, err)
	}
	if err := token.CheckAuthority(reply.Authority); err != nil {
		return nil, fmt.Errorf("join %s: %w", o.Controller, err)
	}
	id.Cert, id.Authority, id.Agent = reply.Cert, reply.Authority, reply.Agent
	id.BeatKey, id.BeatAddr = reply.BeatKey, reply.BeatAddr
	if err := keeper.WriteFile(filepath.Join(o.Dir, identityFile), id, true); err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	return id, nil
}

// ask makes the one request that goes out without a certificate, again and again
// until the controller answers: at a site's first start it may come up last.
func ask(ctx context.Context, o Options, token enrol.Token, req link.JoinRequest, reply *link.JoinReply) error {
	c := newClient(token.FirstContact(o.Now))
	defer c.CloseIdleConnections()
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	wait := newBackOff()
	for {
		err := askOnce(ctx, c, o.Controller, body, reply)
		if err == nil || errors.Is(err, ErrRefused) || errors.Is(err, enrol.ErrAuthority) {
			return err
		}
		o.Log.Info("controller does not answer yet", "error", err)
		if !wait.pause(ctx) {
			return errors.Join(ctx.Err(), err)
		}
	}
}

func askOnce(ctx context.Context, c *http.Client, base string, body []byte, reply *link.JoinReply) error {
	ctx, cancel := context.WithTimeout(ctx, joinWithin)
	defer cancel()
	target, err := url.JoinPath(base, link.PathJoin)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := statusError(res); err != nil {
		return err
	}
	return link.Decode(res.Body, link.MaxBody, reply)
}

// statusError turns an answer other than success into an error with its text.
func statusError(res *http.Response) error {
	if res.StatusCode/100 == 2 {
		return nil
	}
	var problem struct {
		Detail string `json:"detail"`
	}
	data, _ := io.ReadAll(io.LimitReader(res.Body, 16<<10))
	_ = json.Unmarshal(data, &problem)
	err := fmt.Errorf("%s: %s", res.Status, link.Cut(problem.Detail))
	if res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusBadRequest || res.StatusCode == http.StatusGone {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}
