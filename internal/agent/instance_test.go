package agent

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"relight/internal/core/fleet"
)

// The metadata service tells nothing without its token (IMDSv2); a board that names the
// instance is asked first.
func TestThisInstance(t *testing.T) {
	answer := "i-0fedcba9876543210\n"
	service := http.NewServeMux()
	service.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		_, _ = w.Write([]byte("secret"))
	})
	service.HandleFunc("GET /latest/meta-data/instance-id", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-aws-ec2-metadata-token") != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(answer))
	})
	srv := httptest.NewServer(service)
	t.Cleanup(srv.Close)
	sys := t.TempDir()
	if id, err := thisInstance(t.Context(), sys, srv.URL); err != nil || id != "i-0fedcba9876543210" {
		t.Errorf("%q, %v", id, err)
	}
	answer = "<html>a portal</html>"
	if id, err := thisInstance(t.Context(), sys, srv.URL); !errors.Is(err, ErrNoInstance) {
		t.Errorf("%q, %v", id, err)
	}
	dmi := filepath.Join(sys, "class/dmi/id")
	must(t, os.MkdirAll(dmi, 0o755))
	for tag, ok := range map[string]bool{"i-0123456789abcdef0": true, "Not Specified": false, "": false} {
		must(t, os.WriteFile(filepath.Join(dmi, "board_asset_tag"), []byte(tag+"\n"), 0o600))
		if id, err := thisInstance(t.Context(), sys, srv.URL); (err == nil && id == tag) != ok {
			t.Errorf("board %q: %q, %v", tag, id, err)
		}
	}
}

// log keeps what an agent logs.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) has(text string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !strings.Contains(l.b.String(), text) {
		return errors.New(l.b.String())
	}
	return nil
}

// A machine that is made of an image of a running guest has its certificate, its key and
// its plan: it must not speak as that one (S13). With a plan of its own it joins, by a key
// of its own.
func TestImageOfAGuestSpeaksForNobody(t *testing.T) {
	x := newVessel(t)
	x.attach()
	x.mounted(mountedRight)
	x.open()
	stop := x.run(3, fleet.Check{})
	x.says(3, fleet.Yes, "all volumes are mounted")
	stop()
	was, _ := x.door.Told("lic-07")
	if was.Instance != "i-0123456789abcdef0" {
		t.Errorf("it is told that %q speaks", was.Instance)
	}
	key, err := os.ReadFile(filepath.Join(x.dir, "agent", guestKeyFile))
	must(t, err)

	x.is("i-0000000000000c0b1")
	out := &logged{}
	x.log = slog.New(slog.NewTextHandler(out, nil))
	stop = x.run(3, fleet.Check{})
	eventually(t, "it says why it does not speak", func() error { return out.has("the image is of i-0123456789abcdef0; next: end this machine") })
	stop()
	if w, _ := x.door.Told("lic-07"); w.At != was.At {
		t.Errorf("the copy spoke: %+v", w)
	}

	x.epoch.Store(4)
	x.run(4, fleet.Check{})
	x.says(4, fleet.Yes, "all volumes are mounted")
	if w, _ := x.door.Told("lic-07"); w.Instance != "i-0000000000000c0b1" {
		t.Errorf("%q speaks", w.Instance)
	}
	if now, err := os.ReadFile(filepath.Join(x.dir, "agent", guestKeyFile)); err != nil || bytes.Equal(now, key) {
		t.Errorf("it speaks by the key of the image: %v", err)
	}
}
