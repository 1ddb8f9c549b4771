package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"
)

// The waits between tries of a stream that broke. They are short because a
// controller's successor answers within seconds.
const (
	firstRetry = 250 * time.Millisecond
	lastRetry  = 4 * time.Second
)

// WatchEvents yields events as they happen, starting after q.After, or with the
// next one if that is empty and q.Since is zero. When the stream breaks it
// yields the error once and goes on after the last event that it saw, until the
// caller stops or ctx ends. An error that a new try cannot mend, or one on the
// first try, ends it.
func (c *Client) WatchEvents(ctx context.Context, q EventQuery) iter.Seq2[EventRecord, error] {
	return func(yield func(EventRecord, error) bool) {
		wait, connected := firstRetry, false
		for ctx.Err() == nil {
			stop, err := c.stream(ctx, &q, func(r EventRecord) bool {
				wait, connected = firstRetry, true
				return yield(r, nil)
			}, func() { connected = true })
			if stop || ctx.Err() != nil {
				return
			}
			if !yield(EventRecord{}, err) || !connected || !mends(err) {
				return
			}
			t := time.NewTimer(wait)
			select {
			case <-ctx.Done():
				t.Stop()
				return
			case <-t.C:
			}
			wait = min(2*wait, lastRetry)
		}
	}
}

func mends(err error) bool {
	var p *Problem
	if !errors.As(err, &p) {
		return true
	}
	return p.Code == CodeUnreachable || p.Code == CodeUnavailable || p.Code == CodeLostLease
}

// stream reads one connection. It reports whether the caller wants no more, and
// otherwise why the connection ended.
func (c *Client) stream(ctx context.Context, q *EventQuery, each func(EventRecord) bool, open func()) (bool, error) {
	resp, err := c.send(ctx, call{method: http.MethodGet, path: []string{"events", "stream"}, query: q.values()}, "text/event-stream")
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	open()
	r := bufio.NewReader(resp.Body)
	var kind, data string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the stream ended")
			}
			return false, NewProblem(CodeUnreachable, "lost the stream of events: %v", err)
		}
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case name == "event":
			kind = value
		case name == "data":
			data += value
		case name == "" && value == "" && data != "":
			stop, err := take(kind, data, q, each)
			if stop || err != nil {
				return stop, err
			}
			kind, data = "", ""
		}
	}
}

// take hands on one message of the stream.
func take(kind, data string, q *EventQuery, each func(EventRecord) bool) (bool, error) {
	if kind == "problem" {
		var p Problem
		if err := json.Unmarshal([]byte(data), &p); err != nil {
			return false, NewProblem(CodeInternal, "the engine's answer cannot be read: %v", err)
		}
		return false, &p
	}
	var rec EventRecord
	if err := json.Unmarshal([]byte(data), &rec); err != nil {
		return false, NewProblem(CodeInternal, "the engine's event cannot be read: %v", err)
	}
	q.After, q.Since = rec.ID, time.Time{}
	return !each(rec), nil
}
