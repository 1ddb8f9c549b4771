package guest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/enrol"
)

// site is a door behind real TLS.
type site struct {
	t      *testing.T
	door   *Door
	server *httptest.Server
	epochs map[string]fleet.Epoch
	guests *enrol.Guests
}

func newSite(t *testing.T) *site {
	t.Helper()
	vault, err := enrol.NewDirVault(t.TempDir())
	must(t, err)
	authority, err := enrol.OpenAuthority(t.Context(), vault, time.Now)
	must(t, err)
	guests, err := authority.Guests(t.Context(), vault)
	must(t, err)
	s := &site{t: t, door: New(), epochs: map[string]fleet.Epoch{"lic-07": 3, "lic-08": 1}, guests: guests}
	s.server = httptest.NewUnstartedServer(s.door.Handler())
	s.server.TLS = authority.ServerTLS([]string{"127.0.0.1"})
	s.server.StartTLS()
	t.Cleanup(s.server.Close)
	s.door.Open(Options{Guests: guests, URL: s.server.URL, Now: time.Now, Epoch: func(name string) (fleet.Epoch, bool) {
		e, ok := s.epochs[name]
		return e, ok
	}})
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *site) post(conf *tls.Config, path string, m, into any) int {
	s.t.Helper()
	body, err := json.Marshal(m)
	must(s.t, err)
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.server.URL+path, bytes.NewReader(body))
	must(s.t, err)
	c := http.Client{Transport: &http.Transport{TLSClientConfig: conf}}
	defer c.CloseIdleConnections()
	res, err := c.Do(req)
	must(s.t, err)
	defer func() { _ = res.Body.Close() }()
	if into != nil && res.StatusCode == http.StatusOK {
		must(s.t, Decode(res.Body, into))
	}
	return res.StatusCode
}

// join joins with a fresh key.
func (s *site) join(server string, epoch fleet.Epoch, token enrol.Token) (*tls.Config, int) {
	s.t.Helper()
	key, err := enrol.MakeKey()
	must(s.t, err)
	csr, err := enrol.Request(key)
	must(s.t, err)
	var reply JoinReply
	code := s.post(token.FirstContact(time.Now), PathJoin, JoinRequest{V: Version, Server: server, Epoch: epoch, Token: token.Text(), CSR: csr}, &reply)
	if code != http.StatusOK {
		return nil, code
	}
	must(s.t, token.CheckAuthority(reply.Authority))
	conf, err := enrol.ClientTLS(func() *tls.Certificate {
		return &tls.Certificate{Certificate: [][]byte{reply.Cert}, PrivateKey: key}
	}, reply.Authority, time.Now)
	must(s.t, err)
	return conf, code
}

func TestJoinAndReport(t *testing.T) {
	s := newSite(t)
	conf, code := s.join("lic-07", 3, s.guests.Token("lic-07", 3))
	if code != http.StatusOK {
		t.Fatal(code)
	}
	if _, ok := s.door.Told("lic-07"); ok {
		t.Error("a join is no word")
	}
	if code := s.post(conf, PathReport, Report{V: Version, Works: fleet.No, Detail: "volume data is\nawaited"}, nil); code != http.StatusNoContent {
		t.Fatal(code)
	}
	first, _ := s.door.Told("lic-07")
	if first.Epoch != 3 || first.Works != fleet.No || first.Detail != "volume data is awaited" || <-s.door.Wakes() != "lic-07" {
		t.Errorf("%+v", first)
	}
	s.post(conf, PathReport, Report{V: Version, Works: fleet.No, Detail: "still"}, nil)
	if w, _ := s.door.Told("lic-07"); !w.Since.Equal(first.Since) || !w.At.After(first.At) || w.Detail != "still" || len(s.door.Wakes()) != 0 {
		t.Errorf("the same answer began anew: %+v after %+v", w, first)
	}
	for _, bad := range []Report{{V: 2}, {V: Version, Works: 7}, {V: Version, Mounts: make([]Mount, 65)}} {
		if code := s.post(conf, PathReport, bad, nil); code != http.StatusBadRequest {
			t.Errorf("%d for %+v", code, bad)
		}
	}
}

// A token joins one guest of its own epoch, and nobody else.
func TestTokenOfAnEpoch(t *testing.T) {
	s := newSite(t)
	token := s.guests.Token("lic-07", 3)
	if token.Text() != s.guests.Token("lic-07", 3).Text() {
		t.Fatal("a launch that is repeated would carry another token")
	}
	for name, row := range map[string]struct {
		server string
		epoch  fleet.Epoch
		token  enrol.Token
		want   int
	}{
		"another epoch":      {"lic-07", 4, token, http.StatusForbidden},
		"another server":     {"lic-08", 1, token, http.StatusForbidden},
		"epoch that is over": {"lic-07", 2, s.guests.Token("lic-07", 2), http.StatusGone},
		"no such server":     {"lic-99", 1, s.guests.Token("lic-99", 1), http.StatusForbidden},
		"no epoch":           {"lic-07", 0, s.guests.Token("lic-07", 0), http.StatusForbidden},
	} {
		if _, code := s.join(row.server, row.epoch, row.token); code != row.want {
			t.Errorf("%s: %d, want %d", name, code, row.want)
		}
	}
	if _, code := s.join("lic-07", 3, token); code != http.StatusOK {
		t.Fatal(code)
	}
	if _, code := s.join("lic-07", 3, token); code != http.StatusForbidden {
		t.Errorf("%d: another key joined with the same token", code)
	}
}

// An epoch that is over is refused from the moment on at which the next one began, and
// what it said before is not believed after the next one has spoken.
func TestEpochThatIsOver(t *testing.T) {
	s := newSite(t)
	old, _ := s.join("lic-07", 3, s.guests.Token("lic-07", 3))
	yes := Report{V: Version, Works: fleet.Yes}
	if code := s.post(old, PathReport, yes, nil); code != http.StatusNoContent {
		t.Fatal(code)
	}
	s.epochs["lic-07"] = 4
	if code := s.post(old, PathReport, yes, nil); code != http.StatusGone {
		t.Errorf("%d for an epoch that is over", code)
	}
	s.door.take(enrol.GuestName{Server: "lic-07", Epoch: 4}, Report{V: Version, Works: fleet.No}, time.Now())
	s.door.take(enrol.GuestName{Server: "lic-07", Epoch: 3}, yes, time.Now())
	if w, _ := s.door.Told("lic-07"); w.Epoch != 4 || w.Works != fleet.No {
		t.Errorf("%+v", w)
	}
	delete(s.epochs, "lic-07")
	if code := s.post(old, PathReport, yes, nil); code != http.StatusForbidden {
		t.Errorf("%d for a server that is no more", code)
	}
}

// Only a guest's certificate opens the door (S13).
func TestStrangers(t *testing.T) {
	s := newSite(t)
	if code := s.post(s.guests.Token("lic-07", 3).FirstContact(time.Now), PathReport, Report{V: Version}, nil); code != http.StatusForbidden {
		t.Errorf("%d without a certificate", code)
	}
	closed := New()
	if _, err := closed.UserData(fleet.Server{Name: "a"}, 1); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	rec := httptest.NewRecorder()
	closed.Handler().ServeHTTP(rec, httptest.NewRequestWithContext(context.Background(), http.MethodPost, PathJoin, strings.NewReader("{}")))
	if rec.Code != http.StatusServiceUnavailable {
		t.Errorf("a closed door answered %d", rec.Code)
	}
}

// What a boot says that was ended counts for nothing, until the next boot speaks.
func TestReboot(t *testing.T) {
	s := newSite(t)
	yes := func(boot string) {
		s.door.take(enrol.GuestName{Server: "lic-07", Epoch: 3}, Report{V: Version, Works: fleet.Yes, Boot: boot}, time.Now())
	}
	over := func(want bool) {
		t.Helper()
		if w, ok := s.door.Told("lic-07"); w.Over != want || !ok {
			t.Errorf("over %v, want %v", w.Over, want)
		}
	}
	s.door.Rebooting("lic-07") // nothing was said yet
	yes("a")
	over(false)
	s.door.Rebooting("lic-07")
	over(true)
	yes("a")
	over(true)
	yes("b")
	over(false)
	s.door.Rebooting("lic-07")
	s.door.take(enrol.GuestName{Server: "lic-07", Epoch: 4}, Report{V: Version, Works: fleet.Yes, Boot: "b"}, time.Now())
	over(false)
}

// What a guest formatted is recorded before its word counts, and also if its epoch is
// over by then; what cannot be recorded is refused, so that it comes again.
func TestFormatsAreRecorded(t *testing.T) {
	s := newSite(t)
	var (
		got    []fleet.Formatted
		refuse error
	)
	o, err := s.door.options()
	must(t, err)
	o.Formatted = func(_ context.Context, server string, f fleet.Formatted) error {
		if refuse == nil && server == "lic-07" {
			got = append(got, f)
		}
		return refuse
	}
	s.door.Open(o)
	conf, _ := s.join("lic-07", 3, s.guests.Token("lic-07", 3))
	report := Report{V: Version, Works: fleet.Yes, Mounts: []Mount{{Volume: "data", State: "done", Formatted: true, Serial: "vol0a"}, {Volume: "more", State: "done", Serial: "vol0b"}}}
	refuse = errors.New("no quorum")
	if code := s.post(conf, PathReport, report, nil); code != http.StatusServiceUnavailable {
		t.Errorf("%d while nothing can be recorded", code)
	}
	if w, ok := s.door.Told("lic-07"); ok {
		t.Errorf("a word counts that hides a format: %+v", w)
	}
	refuse = nil
	if code := s.post(conf, PathReport, report, nil); code != http.StatusNoContent {
		t.Errorf("%d", code)
	}
	s.epochs["lic-07"] = 4
	if code := s.post(conf, PathReport, report, nil); code != http.StatusGone {
		t.Errorf("%d for an epoch that is over", code)
	}
	if len(got) != 2 || got[0].Volume != "data" || got[0].Serial != "vol0a" || got[0].Epoch != 3 || got[0].At.IsZero() || got[1].Epoch != 3 {
		t.Errorf("%+v", got)
	}
	delete(s.epochs, "lic-07")
	if s.post(conf, PathReport, report, nil); len(got) != 2 {
		t.Error("a format of a server that is no more was recorded")
	}
}

// A guest is told where its LUNs are by its certificate alone, and only while its epoch is
// the newest: what was shut out gets no secret, nor does another server's guest (S13).
func TestDisksAreToldToTheirOwnEpoch(t *testing.T) {
	s := newSite(t)
	var asked []string
	letIn := false
	o, err := s.door.options()
	must(t, err)
	o.Disks = func(_ context.Context, server string, epoch fleet.Epoch) ([]Disk, error) {
		asked = append(asked, fmt.Sprintf("%s.%d", server, epoch))
		if !letIn {
			return nil, errors.New("the array does not let the epoch in")
		}
		return []Disk{{Volume: "data", Portal: "10.0.9.1:3260", Target: "t", Unit: 1, Initiator: "i", User: "u", Secret: "s"}}, nil
	}
	s.door.Open(o)
	conf, _ := s.join("lic-07", 3, s.guests.Token("lic-07", 3))
	var told Disks
	if code := s.post(conf, PathDisks, struct{}{}, nil); code != http.StatusServiceUnavailable {
		t.Errorf("%d before it is let in", code)
	}
	letIn = true
	if code := s.post(conf, PathDisks, map[string]any{"server": "lic-08", "epoch": 9}, &told); code != http.StatusOK || len(told.Disks) != 1 || told.V != Version || told.Disks[0].Secret != "s" {
		t.Errorf("%d: %+v", code, told)
	}
	s.epochs["lic-07"] = 4
	if code := s.post(conf, PathDisks, struct{}{}, nil); code != http.StatusGone {
		t.Errorf("%d for an epoch that is over", code)
	}
	if want := []string{"lic-07.3", "lic-07.3"}; !slices.Equal(asked, want) {
		t.Errorf("asked for %v", asked)
	}
	o.Disks = nil
	s.door.Open(o)
	s.epochs["lic-07"] = 3
	told = Disks{}
	if code := s.post(conf, PathDisks, struct{}{}, &told); code != http.StatusOK || len(told.Disks) != 0 {
		t.Errorf("%d: %+v where no server has any", code, told)
	}
}
