package api_test

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"relight/internal/api"
	"relight/internal/api/apitest"
	"relight/internal/core/event"
)

// TestLastEventIDResumes speaks as a browser's EventSource does.
func TestLastEventIDResumes(t *testing.T) {
	b := apitest.New(apitest.Clock(start))
	srv := httptest.NewServer(api.New(api.Options{
		Backend: b, Now: b.Now, KeepAlive: time.Millisecond,
		Auth: api.NewTokens(map[string]api.Person{apitest.Token: {Name: apitest.Person}}),
	}))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	for _, m := range []string{"one", "two", "three"} {
		b.Emit(event.Event{Kind: event.HostJoined, Message: m})
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/api/v1/events/stream?after=1&since=1h", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apitest.Token)
	req.Header.Set("Last-Event-ID", "2")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if ct := resp.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("content type %q", ct)
	}
	var got []string
	comments := 0
	lines := bufio.NewScanner(resp.Body)
	for (len(got) < 3 || comments < 3) && lines.Scan() {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, ":"):
			comments++
		case line != "":
			got = append(got, line)
		}
	}
	if len(got) < 3 || got[0] != "id: 3" || got[1] != "event: host_joined" || !strings.Contains(got[2], "three") {
		t.Errorf("got %q", got)
	}
}
