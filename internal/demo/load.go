package demo

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"relight/internal/dev"
)

const (
	// clientTimeout is how long a client waits for one acknowledgement.
	clientTimeout = 300 * time.Millisecond
	// clientPace is the least time from one attempt to the next. Without it six
	// clients would take the machine for themselves, and the demo would measure
	// that.
	clientPace = 2 * time.Millisecond
)

// ack is one acknowledged write: when its request began and its answer came.
type ack struct {
	id           uint64
	begun, ended time.Time
}

// Load writes to every server without a pause and remembers what was acknowledged.
type Load struct {
	clients map[string]*client
	work    sync.WaitGroup
	cancel  context.CancelFunc
}

// client writes to one server through its address. No attempt is ever repeated: a
// write whose answer was lost may or may not be in the log.
type client struct {
	url  string
	http *http.Client

	mu   sync.Mutex
	next uint64
	acks []ack
}

// StartLoad starts a client for each server. Ids begin above first.
func StartLoad(ctx context.Context, servers []dev.Server, first uint64) *Load {
	ctx, cancel := context.WithCancel(ctx)
	l := &Load{clients: map[string]*client{}, cancel: cancel}
	for _, s := range servers {
		c := &client{
			url: "http://" + s.Addr, next: first,
			http: &http.Client{Timeout: clientTimeout, Transport: &http.Transport{
				DialContext: (&net.Dialer{Timeout: clientTimeout}).DialContext,
			}},
		}
		l.clients[s.Name] = c
		l.work.Go(func() { c.run(ctx) })
	}
	return l
}

// Stop ends all clients; attempts under way are waited for.
func (l *Load) Stop() {
	l.cancel()
	l.work.Wait()
}

// Acked returns the ids of all acknowledged writes to a server.
func (l *Load) Acked(server string) []uint64 {
	c := l.clients[server]
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := make([]uint64, 0, len(c.acks))
	for _, a := range c.acks {
		ids = append(ids, a.id)
	}
	return ids
}

// FirstAfter returns when the first write that began after t was acknowledged;
// zero if none was yet.
func (l *Load) FirstAfter(server string, t time.Time) time.Time {
	c := l.clients[server]
	c.mu.Lock()
	defer c.mu.Unlock()
	var first time.Time
	for i := len(c.acks) - 1; i >= 0 && c.acks[i].begun.After(t); i-- {
		first = c.acks[i].ended
	}
	return first
}

// LongestPause is the longest time between two acknowledgements from a server, of
// those that came between from and to, both ends included.
func (l *Load) LongestPause(server string, from, to time.Time) time.Duration {
	c := l.clients[server]
	c.mu.Lock()
	defer c.mu.Unlock()
	last, longest := from, time.Duration(0)
	for _, a := range c.acks {
		if a.ended.Before(from) || a.ended.After(to) {
			continue
		}
		longest = max(longest, a.ended.Sub(last))
		last = a.ended
	}
	return max(longest, to.Sub(last))
}

func (c *client) run(ctx context.Context) {
	defer c.http.CloseIdleConnections()
	for pace := time.NewTicker(clientPace); ctx.Err() == nil; {
		c.write(ctx)
		select {
		case <-ctx.Done():
			pace.Stop()
		case <-pace.C:
		}
	}
}

// write makes one attempt. It is not bound to the end of the demo: an attempt that
// was given up in the middle could be acknowledged without our knowing.
func (c *client) write(ctx context.Context) {
	c.mu.Lock()
	c.next++
	id := c.next
	c.mu.Unlock()
	begun := time.Now()
	if _, err := c.ask(ctx, http.MethodPost, fmt.Sprintf("/write?id=%d", id)); err != nil {
		return
	}
	a := ack{id: id, begun: begun, ended: time.Now()}
	c.mu.Lock()
	c.acks = append(c.acks, a)
	c.mu.Unlock()
}

// ask makes a request and returns the text of a successful answer.
func (c *client) ask(ctx context.Context, method, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return string(body), err
}
