package notify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// postTimeout is how long one try may take; then its end is unknown, and it is
// tried again.
const postTimeout = 10 * time.Second

// answer is how one try ended.
type answer struct {
	result     Result
	retryAfter time.Duration
}

// post makes one try to send the message.
func (n *Notifier) post(ctx context.Context, msg *Message) answer {
	log := n.cfg.Log.With("host", n.host, "incident", msg.Incident(), "events", len(msg.Items),
		"first", envelop(n.cfg.Source, msg.Items[0]).ID, "try", msg.tries+1)
	body, contentType, err := encode(n.cfg.Source, msg.Items)
	if err != nil {
		log.Error("notify: message cannot be encoded, not sent", "error", err)
		return answer{result: Refused}
	}
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	resp, err := n.send(ctx, body, contentType, n.key(msg.Items))
	if err != nil {
		log.Warn("notify: no answer, will try again", "error", withoutURL(err))
		return answer{result: Again}
	}
	// Read a little, so that the connection can be used again, and no more: the
	// receiver is not trusted with our memory.
	io.CopyN(io.Discard, resp.Body, 64<<10) //nolint:errcheck // the status is known already
	resp.Body.Close()
	a := answer{result: judge(resp.StatusCode), retryAfter: retryAfter(resp.Header.Get("Retry-After"), n.cfg.Clock.Now())}
	switch a.result {
	case Delivered:
		log.Debug("notify: delivered", "status", resp.StatusCode)
	case Refused:
		log.Error("notify: receiver refused the message, not sent again", "status", resp.StatusCode)
	case Again:
		log.Warn("notify: receiver did not take the message, will try again", "status", resp.StatusCode)
	}
	return a
}

// send makes one request. The caller closes the answer's body.
func (n *Notifier) send(ctx context.Context, body []byte, contentType, key string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the request cannot be made") // the reason holds the address
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", "relight")
	req.Header.Set(IdempotencyHeader, key)
	req.Header.Set(SignatureHeader, Sign(n.cfg.Secret, body, n.cfg.Clock.Now()))
	return n.client.Do(req)
}

// IdempotencyHeader is the header by which a receiver knows a message again.
const IdempotencyHeader = "Idempotency-Key"

// key is the same whenever the same events go to the same address, whichever
// controller sends them, and for no others.
func (n *Notifier) key(items []Item) string {
	h := sha256.New()
	for _, s := range []string{n.cfg.URL, n.cfg.Source} {
		fmt.Fprintf(h, "%d %s", len(s), s)
	}
	for _, it := range items {
		fmt.Fprintf(h, " %s", it.id())
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// judge says what a status means for the message.
func judge(status int) Result {
	switch {
	case status >= 200 && status < 300:
		return Delivered
	case status == http.StatusRequestTimeout || status == http.StatusTooManyRequests:
		return Again
	case status >= 400 && status < 500:
		return Refused
	default:
		return Again
	}
}

// retryAfter reads the header of that name, seconds or a date; zero if it is
// neither.
func retryAfter(header string, now time.Time) time.Duration {
	if s, err := strconv.Atoi(header); err == nil {
		return time.Duration(min(max(s, 0), int(maxPause/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// withoutURL takes the address out of an error of the client: its path and query
// may hold a token.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
