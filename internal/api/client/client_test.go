package client_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
)

func answering(body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
}

func version(t *testing.T, cfg client.Config) error {
	t.Helper()
	c, err := client.New(cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Version(t.Context())
	return err
}

func code(err error) client.Code {
	var p *client.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: answering(`{"version":"v1"}`)}}
	srv.Start()
	t.Cleanup(srv.Close)
	if err := version(t, client.Config{Server: "unix://" + path, Token: "t"}); err != nil {
		t.Error(err)
	}
	if err := version(t, client.Config{Server: "unix://" + path + "x"}); code(err) != client.CodeUnreachable {
		t.Error(err)
	}
}

func TestTLSNeedsTheCA(t *testing.T) {
	srv := httptest.NewTLSServer(answering(`{"version":"v1"}`))
	srv.Config.ErrorLog = nil
	t.Cleanup(srv.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := version(t, client.Config{Server: srv.URL, CA: ca}); err != nil {
		t.Error(err)
	}
	err := version(t, client.Config{Server: srv.URL})
	var p *client.Problem
	if !errors.As(err, &p) || p.Code != client.CodeUnreachable || !strings.Contains(p.Next, "--ca") {
		t.Errorf("%+v", err)
	}
	if err := version(t, client.Config{Server: srv.URL, CA: []byte("no PEM")}); code(err) != client.CodeBadRequest {
		t.Error(err)
	}
}

func TestTimeoutIsNotTheCallersEnd(t *testing.T) {
	stuck := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stuck }))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(stuck) })
	c, err := client.New(client.Config{Server: srv.URL, Timeout: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Version(t.Context()); code(err) != client.CodeUnreachable {
		t.Errorf("a silent engine: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Version(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted caller: %v", err)
	}
}

func TestRedirectsCarryNoToken(t *testing.T) {
	asked := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	t.Cleanup(other.Close)
	srv := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusFound))
	t.Cleanup(srv.Close)
	if err := version(t, client.Config{Server: srv.URL, Token: "t"}); err == nil || asked {
		t.Errorf("followed a redirect: %v, %v", err, asked)
	}
}

func TestAnswersThatAreNotOurs(t *testing.T) {
	for status, want := range map[int]client.Code{401: client.CodeUnauthenticated, 404: client.CodeNotFound, 503: client.CodeUnavailable, 500: client.CodeInternal} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", status) }))
		if err := version(t, client.Config{Server: srv.URL}); code(err) != want {
			t.Errorf("%d: %v", status, err)
		}
		srv.Close()
	}
	srv := httptest.NewServer(answering("<html>"))
	t.Cleanup(srv.Close)
	if err := version(t, client.Config{Server: srv.URL}); code(err) != client.CodeInternal {
		t.Error(err)
	}
}

func TestNamesAreEscaped(t *testing.T) {
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.EscapedPath()
		_, _ = w.Write([]byte("{}"))
	}))
	t.Cleanup(srv.Close)
	c, err := client.New(client.Config{Server: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(t.Context(), "a/../b?c"); err != nil || got != "/api/v1/servers/a%2F..%2Fb%3Fc/resume" {
		t.Errorf("%s %v", got, err)
	}
}

func TestSelectors(t *testing.T) {
	for in, want := range map[string]string{"a=b": "a=b", " z=1 , a=2": "a=2,z=1", "": ""} {
		sel, err := client.ParseSelector(in)
		if got := client.FormatSelector(sel); err != nil || got != want {
			t.Errorf("%q: %q %v", in, got, err)
		}
	}
	for _, in := range []string{"a", "a=", "=b", "a!=b", "a=b,", ","} {
		if sel, err := client.ParseSelector(in); err == nil {
			t.Errorf("%q was read as %v", in, sel)
		}
	}
}

func TestSpans(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 12 * time.Second: "12s", 184 * time.Second: "3m04s", 130 * time.Minute: "2h10m", 76 * time.Hour: "3d4h",
	} {
		if got := client.Span(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestDocumentsKeepTheirForm(t *testing.T) {
	d, err := client.ParseDocument([]byte(`{"apiVersion":"relight/v1alpha1","kind":"Site","metadata":{"name":"dc1"},"spec":{"kind":"zone"}}`))
	if err != nil {
		t.Fatal(err)
	}
	d.Revision = 7
	raw, err := d.Raw()
	if err != nil || string(raw) != `{"apiVersion":"relight/v1alpha1","kind":"Site","metadata":{"name":"dc1"},"spec":{"kind":"zone"}}` {
		t.Errorf("%s %v", raw, err)
	}
}

func TestEmptyListsAreLists(t *testing.T) {
	raw, err := json.Marshal(client.List[int]{})
	if err != nil || string(raw) != `{"items":[]}` {
		t.Errorf("%s %v", raw, err)
	}
}
