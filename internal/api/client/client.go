// Package client is the typed client of Relight's HTTP interface and the home of
// the structs that travel on it. The command line, the web pages and the demo
// import this and nothing else of the engine.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Config says how to reach an engine.
type Config struct {
	// Server is https://HOST:PORT, http://LOOPBACK:PORT or unix:///PATH.
	Server string
	// Token is the bearer token; empty sends none.
	Token string
	// CA is PEM certificates to trust instead of the system's.
	CA []byte
	// Timeout bounds one call, not streams; 0 means 30s.
	Timeout time.Duration
}

// Client calls one engine. It is safe for concurrent use.
type Client struct {
	base    *url.URL
	token   string
	http    *http.Client
	timeout time.Duration
}

// New makes a client. It makes no call. It refuses to send a token in clear to
// another machine, where anybody on the way could heal and freeze with it.
func New(cfg Config) (*Client, error) {
	if cfg.Server == "" {
		return nil, NewProblem(CodeUnreachable, "no engine is configured").WithNext("relight dev")
	}
	base, err := url.Parse(cfg.Server)
	if err != nil {
		return nil, NewProblem(CodeBadRequest, "%q is not an address such as https://relight.example:7443", cfg.Server)
	}
	tr := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, IdleConnTimeout: 90 * time.Second}
	switch base.Scheme {
	case "unix":
		path := base.Path
		tr.Proxy = nil
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}
		base = &url.URL{Scheme: "http", Host: "relight"}
	case "http":
		if cfg.Token != "" && !loopback(base.Hostname()) {
			return nil, NewProblem(CodeBadRequest, "a token would travel in clear to %s; use https", base.Host).
				WithNext("relight version --server https://%s --ca FILE", base.Host)
		}
	case "https":
	default:
		return nil, NewProblem(CodeBadRequest, "%q is not an address such as https://relight.example:7443 or unix:///run/relight/admin.sock", cfg.Server)
	}
	if len(cfg.CA) > 0 {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(cfg.CA) {
			return nil, NewProblem(CodeBadRequest, "the CA file holds no PEM certificate")
		}
		tr.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	timeout := cfg.Timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	return &Client{base: base, token: cfg.Token, timeout: timeout, http: &http.Client{
		Transport: tr,
		// A redirect would carry the token to wherever it points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// call is one request of the interface.
type call struct {
	method string
	// path holds the segments below /api/v1; they are escaped here.
	path    []string
	query   url.Values
	body    any
	ifMatch Revision
	// within is how long the call may take, if that is more than others.
	within time.Duration
}

// do makes the call and reads the answer into out, unless that is nil.
func (c *Client) do(ctx context.Context, in call, out any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, max(c.timeout, in.within), errCallTimeout)
	defer cancel()
	resp, err := c.send(ctx, in, "application/json")
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		if ctx.Err() != nil {
			return c.unreachable(ctx, err)
		}
		return NewProblem(CodeInternal, "the engine's answer cannot be read: %v", err)
	}
	return nil
}

var errCallTimeout = errors.New("the engine did not answer in time")

// send returns a successful response, whose body the caller closes, or an error
// that is a *Problem or the end of the caller's context.
func (c *Client) send(ctx context.Context, in call, accept string) (*http.Response, error) {
	var body io.Reader
	if in.body != nil {
		data, err := json.Marshal(in.body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	escaped := make([]string, len(in.path))
	for i, s := range in.path {
		escaped[i] = url.PathEscape(s)
	}
	target := c.base.String() + "/api/v1/" + strings.Join(escaped, "/")
	if len(in.query) > 0 {
		target += "?" + in.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, in.method, target, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Accept", accept)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if in.ifMatch != 0 {
		req.Header.Set("If-Match", in.ifMatch.ETag())
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode >= 300 {
		defer func() { _ = resp.Body.Close() }()
		return nil, readProblem(resp)
	}
	return resp, nil
}

// unreachable turns a transport error into a problem, unless the caller's own
// context ended.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errCallTimeout) {
		return cause
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	if errors.Is(context.Cause(ctx), errCallTimeout) {
		err = errCallTimeout
	}
	p := NewProblem(CodeUnreachable, "cannot reach the engine at %s: %v", c.base, err)
	var unknownCA x509.UnknownAuthorityError
	if errors.As(err, &unknownCA) {
		return p.WithNext("relight version --ca FILE")
	}
	return p.WithNext("relight dev")
}

func readProblem(resp *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var p Problem
	if err := json.Unmarshal(data, &p); err == nil && p.Code != "" {
		return &p
	}
	code := CodeInternal
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		code = CodeUnauthenticated
	case http.StatusForbidden:
		code = CodeForbidden
	case http.StatusNotFound:
		code = CodeNotFound
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		code = CodeUnavailable
	}
	return NewProblem(code, "the engine answered %s without saying why", resp.Status)
}
