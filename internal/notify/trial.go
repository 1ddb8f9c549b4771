package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"relight/internal/core/event"
)

// TrialType is the CloudEvents type of a trial message, which tells of nothing.
const TrialType = "relight.test"

// maxExcerpt bounds what is shown of a receiver's answer, in bytes.
const maxExcerpt = 500

// Trial is what a receiver answered to a trial message.
type Trial struct {
	// Host is the receiver; the rest of its address may hold secrets.
	Host string
	// Delivered tells whether the answer would have ended a real message.
	Delivered bool
	// Status is the HTTP status, 0 without an answer; Body the answer's begin.
	Status int
	Body   string
	// Trouble says why there is no answer, or empty.
	Trouble string
	Took    time.Duration
}

// Try sends one signed trial message, once, past the queue, and says what came of
// it. By is the person who asks.
func (n *Notifier) Try(ctx context.Context, by string) (Trial, error) {
	begun := n.cfg.Clock.Now()
	it := Item{Event: event.Event{Version: event.Version, Kind: "test", At: begun, By: by, Message: by + " tests this webhook; nothing has happened"}}
	e := envelop(n.cfg.Source, it)
	e.Type = TrialType
	// Two trials within one millisecond are no harm; one and a real event would be.
	e.ID = fmt.Sprintf("test-%d", begun.UnixMilli())
	body, err := json.Marshal(e)
	if err != nil {
		return Trial{}, fmt.Errorf("notify: encode a trial: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	out := Trial{Host: n.host}
	resp, err := n.send(ctx, body, TypeSingle, n.key([]Item{it}))
	out.Took = n.cfg.Clock.Now().Sub(begun)
	if err != nil {
		out.Trouble = withoutURL(err).Error()
		return out, nil
	}
	defer func() { _ = resp.Body.Close() }()
	excerpt, _ := io.ReadAll(io.LimitReader(resp.Body, maxExcerpt))
	out.Status, out.Body = resp.StatusCode, strings.TrimSpace(strings.ToValidUTF8(string(excerpt), "?"))
	out.Delivered = judge(resp.StatusCode) == Delivered
	if out.Status >= http.StatusMultipleChoices && out.Status < http.StatusBadRequest {
		out.Trouble = "redirects are not followed: the message would go where nobody chose"
	}
	return out, nil
}
