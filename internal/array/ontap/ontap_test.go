package ontap

import (
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/array"
	"relight/internal/array/arraytest"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

const prefix = "iqn.2026-01.org.example.san"

func open(t *testing.T) (*cluster, *Array) {
	c := newCluster()
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	return c, New(Config{
		Name: "san-3", Prefix: prefix, URL: server.URL, User: "relight", Password: "letmein",
		SVM: svmName, Volume: "vol1", Portal: "127.0.0.1:3260",
	}, server.Client())
}

func TestSuite(t *testing.T) {
	arraytest.Run(t, func(t *testing.T) arraytest.Harness {
		c, a := open(t)
		return arraytest.Harness{
			Array: a, Prefix: prefix, Connect: c.plane.Connect,
			Restart: func() { c.plane.Kill(func(arraytest.Listed) bool { return true }) },
		}
	})
}

func first(t *testing.T, a *Array) (array.Map, fence.Proof) {
	t.Helper()
	if err := a.Create(t.Context(), array.LUN{Name: "data", Bytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	m, err := array.NewMap(prefix, array.Ref{Server: "db", Epoch: 1}, map[int]string{1: "data"}, strings.NewReader("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	p, _ := fence.Prove(fleet.Server{Name: "db"}, 0, "", nil, time.Now())
	return m, p
}

// TestDefaultMustDeny: where strangers are let in, a fenced initiator is one.
func TestDefaultMustDeny(t *testing.T) {
	c, a := open(t)
	m, p := first(t, a)
	c.credentials[0].Type = "none"
	if _, err := a.Map(t.Context(), m, p); !errors.Is(err, array.ErrInvalid) {
		t.Errorf("map: %v", err)
	}
	c.credentials[0].Type = "deny"
	if _, err := a.Map(t.Context(), m, p); err != nil {
		t.Fatal(err)
	}
	c.credentials[0].Type = "none"
	if err := a.Unmap(t.Context(), m.Ref); !errors.Is(err, array.ErrInvalid) {
		t.Errorf("unmap: %v", err)
	}
}

// TestOrder: what stops commands comes before what stops logins.
func TestOrder(t *testing.T) {
	c, a := open(t)
	m, p := first(t, a)
	if _, err := a.Map(t.Context(), m, p); err != nil {
		t.Fatal(err)
	}
	c.requests = nil
	if err := a.Unmap(t.Context(), m.Ref); err != nil {
		t.Fatal(err)
	}
	var deletes []string
	for _, r := range c.requests {
		if path, ok := strings.CutPrefix(r, "DELETE /api/protocols/san/"); ok {
			kind, _, _ := strings.Cut(path, "/")
			deletes = append(deletes, kind)
		}
	}
	if want := []string{"lun-maps", "igroups", "iscsi"}; !slices.Equal(deletes, want) {
		t.Errorf("removed %v, want %v", deletes, want)
	}
}

func TestForeignName(t *testing.T) {
	_, a := open(t)
	m, p := first(t, a)
	m.Initiator = "iqn.2026-01.org.example:other"
	if _, err := a.Map(t.Context(), m, p); !errors.Is(err, array.ErrInvalid) {
		t.Errorf("an initiator whose sessions could not be found again: %v", err)
	}
}

// TestErrors: whatever is wrong on the way, nothing is ever "none".
func TestErrors(t *testing.T) {
	_, a := open(t)
	a.cfg.Password = "wrong"
	r := array.Ref{Server: "db", Epoch: 1}
	if got, err := a.Sessions(t.Context(), r); err == nil {
		t.Errorf("sessions %v", got)
	}
	if got, err := a.Maps(t.Context(), "db"); err == nil {
		t.Errorf("maps %v", got)
	}
	for what, err := range map[string]error{"unmap": a.Unmap(t.Context(), r), "close": a.Close(t.Context(), r), "create": a.Create(t.Context(), array.LUN{Name: "x", Bytes: 4096})} {
		if err == nil {
			t.Errorf("%s without rights", what)
		}
	}
}
