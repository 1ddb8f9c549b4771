package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"relight/internal/provider/onprem/link"
)

const (
	dialWithin = time.Second
	joinWithin = 5 * time.Second
	// postWithin bounds a report or a result; a later one says the same.
	postWithin = 2 * time.Second
	// deafAfter is how long a held request may bring no newline before its
	// connection counts as dead: the controller sends one each second.
	deafAfter = 2500 * time.Millisecond
	// firstBackOff and lastBackOff bound the pause between tries.
	firstBackOff = 20 * time.Millisecond
	lastBackOff  = time.Second
)

// newClient makes an HTTP client with connections of its own. HTTP/2 is left out:
// it would put all requests on one connection, and one that died without a word
// would take the reports with it.
func newClient(conf *tls.Config) *http.Client {
	d := net.Dialer{Timeout: dialWithin, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: time.Second, Interval: time.Second, Count: 2,
	}}
	return &http.Client{Transport: &http.Transport{
		DialContext: d.DialContext, TLSClientConfig: conf, TLSHandshakeTimeout: dialWithin,
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
		MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute,
	}}
}

// channel speaks to the controller.
type channel struct {
	base string
	conf *tls.Config
	now  atomic.Pointer[clients]
	// ended says what to do if this host's certificate has ended; the controller's
	// side of TLS says it without a name.
	ended func() error
}

// clients are the connections of one certificate.
type clients struct {
	// poll has connections of its own: closing them must not cut off a result.
	poll, post *http.Client
}

func newClients(conf *tls.Config) *clients {
	return &clients{poll: newClient(conf), post: newClient(conf.Clone())}
}

func (c *clients) close() {
	c.poll.CloseIdleConnections()
	c.post.CloseIdleConnections()
}

func newChannel(base string, conf *tls.Config, ended func() error) *channel {
	c := &channel{base: base, conf: conf, ended: ended}
	c.now.Store(newClients(conf))
	return c
}

func (c *channel) close() { c.now.Load().close() }

// renew has later requests open connections of their own, which show the present
// certificate. Those under way go on to their end on the earlier ones.
func (c *channel) renew() { c.now.Swap(newClients(c.conf.Clone())).close() }

func pollClient(c *clients) *http.Client { return c.poll }
func postClient(c *clients) *http.Client { return c.post }

// send posts a report or a result.
func (c *channel) send(ctx context.Context, path string, m any) error {
	return c.exchange(ctx, path, m, func(body io.Reader) error {
		_, _ = io.Copy(io.Discard, body)
		return nil
	})
}

// exchange posts a message and has take read the answer.
func (c *channel) exchange(ctx context.Context, path string, m any, take func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, postWithin)
	defer cancel()
	res, err := c.do(ctx, postClient, path, m)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := statusError(res); err != nil {
		return fmt.Errorf("send to %s: %w", path, err)
	}
	if err := take(res.Body); err != nil {
		return fmt.Errorf("send to %s: %w", path, err)
	}
	return nil
}

// beats sends sealed beats where datagrams do not come through, and returns their
// sealed acks.
func (c *channel) beats(ctx context.Context, datagrams [][]byte) ([][]byte, error) {
	var reply link.Beats
	err := c.exchange(ctx, link.PathBeat, link.Beats{V: link.Version, Datagrams: datagrams}, func(body io.Reader) error {
		return link.Decode(body, link.MaxBody, &reply)
	})
	return reply.Datagrams, err
}

// work asks for work and waits for it for as long as the controller shows signs
// of life.
func (c *channel) work(ctx context.Context, m link.Work, into *link.WorkReply) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	deaf := time.AfterFunc(deafAfter, cancel)
	defer deaf.Stop()
	res, err := c.do(ctx, pollClient, link.PathWork, m)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := statusError(res); err != nil {
		return fmt.Errorf("ask for work: %w", err)
	}
	if err := link.Decode(&pulsed{res.Body, deaf}, link.MaxBody, into); err != nil {
		return fmt.Errorf("ask for work: %w", err)
	}
	return nil
}

// pulsed puts off the deadline with each byte that comes.
type pulsed struct {
	r    io.Reader
	deaf *time.Timer
}

func (p *pulsed) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if n > 0 {
		p.deaf.Reset(deafAfter)
	}
	return n, err
}

func (c *channel) do(ctx context.Context, pick func(*clients) *http.Client, path string, m any) (*http.Response, error) {
	for {
		now := c.now.Load()
		client := pick(now)
		res, err := c.once(ctx, client, path, m)
		switch {
		case err != nil:
			// The pooled connections probably are as dead as the one that failed.
			client.CloseIdleConnections()
			if ended := c.ended(); ended != nil {
				err = fmt.Errorf("%w (%w)", ended, err)
			}
			return nil, err
		case res.StatusCode == http.StatusForbidden && c.now.Load() != now:
			// Another request has used the renewed certificate meanwhile: this one came
			// with the earlier.
			_ = res.Body.Close()
			client.CloseIdleConnections()
		default:
			return res, nil
		}
	}
}

func (c *channel) once(ctx context.Context, client *http.Client, path string, m any) (*http.Response, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	target, err := url.JoinPath(c.base, path)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	// A request that goes out on a connection that the controller has just closed
	// is repeated by the library only if it may be; ours are all idempotent.
	req.Header["Idempotency-Key"] = nil
	return client.Do(req)
}

// backOff is a pause that doubles, drawn from the upper half so that agents that
// lost the same controller do not return as one.
type backOff struct{ next time.Duration }

func newBackOff() *backOff { return &backOff{next: firstBackOff} }

func (b *backOff) reset() { b.next = firstBackOff }

// pause waits; it returns false if ctx ended first.
func (b *backOff) pause(ctx context.Context) bool {
	d := b.next/2 + rand.N(b.next/2+1) //nolint:gosec // jitter
	b.next = min(2*b.next, lastBackOff)
	return pause(ctx, d)
}

// trouble logs the beginning and the end of a trouble, and not each time that it is
// met: an agent that is cut off for a week must not fill its disk.
type trouble struct {
	log   *slog.Logger
	what  string
	since time.Time
}

// note takes an outcome and returns true if it is an error.
func (t *trouble) note(ctx context.Context, err error) bool {
	switch {
	case err != nil && ctx.Err() == nil && t.since.IsZero():
		t.since = time.Now()
		t.log.Warn(t.what+" fails", "error", err)
	case err == nil && !t.since.IsZero():
		t.log.Info(t.what+" works again", "after", time.Since(t.since).Round(time.Millisecond))
		t.since = time.Time{}
	}
	return err != nil
}
