package guest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"relight/internal/core/fleet"
)

func licence(volumes int) fleet.Server {
	s := fleet.Server{Name: "lic-07"}
	s.Spec.Template.EC2 = &fleet.EC2Template{GuestBeat: true}
	s.Spec.Health.Check = fleet.Check{TCP: "127.0.0.1:27000"}
	for n := range volumes {
		s.Spec.Identity.Volumes = append(s.Spec.Identity.Volumes, fleet.Volume{
			Name: fmt.Sprint("v", n), ID: fmt.Sprintf("vol-%017d", n), Reach: fleet.ReachZone, Mount: &fleet.Mount{Path: fmt.Sprint("/data/it's ", n), Type: "xfs"},
		}, fleet.Volume{Name: fmt.Sprint("raw", n), ID: "vol-raw"})
	}
	return s
}

// The script is run by a real shell: what it writes is the plan.
func TestScriptWritesThePlan(t *testing.T) {
	s := newSite(t)
	data, err := s.door.UserData(licence(2), 3)
	must(t, err)
	again, err := s.door.UserData(licence(2), 3)
	must(t, err)
	if !bytes.Equal(data, again) {
		t.Error("a launch that is repeated is another launch")
	}
	if !bytes.HasPrefix(data, []byte("#cloud-boothook\n")) {
		t.Errorf("cloud-init would not know it: %.40q", data)
	}
	dir := t.TempDir()
	text := strings.ReplaceAll(string(data), "/etc/", dir+"/")
	must(t, os.MkdirAll(filepath.Join(dir, "systemd/system"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "systemctl"), []byte("#!/bin/sh\necho $* >>"+dir+"/told\n"), 0o755))
	cmd := exec.CommandContext(t.Context(), "sh", "-e")
	cmd.Stdin, cmd.Env = strings.NewReader(text), append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	written, err := os.ReadFile(filepath.Join(dir, "relight/guest.json"))
	must(t, err)
	p, err := ParsePlan(written)
	must(t, err)
	if p.Server != "lic-07" || p.Epoch != 3 || p.Controller != s.server.URL || len(p.Volumes) != 2 || p.Volumes[1].Mount.Path != "/data/it's 1" || p.Check.TCP != "127.0.0.1:27000" {
		t.Errorf("%+v", p)
	}
	if st, err := os.Stat(filepath.Join(dir, "relight/guest.json")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the token can be read: %v, %v", st.Mode(), err)
	}
	told, err := os.ReadFile(filepath.Join(dir, "told"))
	if err != nil || !strings.Contains(string(told), "restart --no-block relight-guest.service") || strings.Contains(string(told), "enable") {
		t.Errorf("systemd was told %q, %v", told, err)
	}
	unit, err := os.ReadFile(filepath.Join(dir, "systemd/system/relight-guest.service"))
	if err != nil || !strings.Contains(string(unit), "agent guest --plan") {
		t.Errorf("%s, %v", unit, err)
	}
}

func TestUserDataIsBounded(t *testing.T) {
	s := newSite(t)
	data, err := s.door.UserData(licence(32), 3)
	must(t, err)
	if _, err := Combine(nil, data); err != nil {
		t.Errorf("32 volumes: %v", err)
	}
	if _, err := Combine(append([]byte("#!/bin/sh\n"), bytes.Repeat([]byte("x\n"), 6<<10)...), data); !errors.Is(err, ErrTooLong) || !strings.Contains(err.Error(), "16384") || !strings.Contains(err.Error(), "next:") {
		t.Errorf("%v", err)
	}
	s.door.Open(Options{Guests: s.guests, URL: "https://[::]:7443"})
	if _, err := s.door.UserData(licence(1), 3); !errors.Is(err, ErrNowhere) {
		t.Errorf("%v", err)
	}
}

// parts reads user data as cloud-init does: parts in parts, each decoded.
func parts(t *testing.T, header func(string) string, body io.Reader) (out [][2]string) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(header("Content-Type"))
	must(t, err)
	if strings.HasPrefix(kind, "multipart/") {
		for r := multipart.NewReader(body, params["boundary"]); ; {
			p, err := r.NextPart()
			if errors.Is(err, io.EOF) {
				return out
			}
			must(t, err)
			out = append(out, parts(t, p.Header.Get, p)...)
		}
	}
	data, err := io.ReadAll(body)
	must(t, err)
	if header("Content-Transfer-Encoding") == "base64" {
		data, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(string(data), "\n", ""))
		must(t, err)
	}
	return [][2]string{{kind, string(data)}}
}

// The template's own user data is not lost, whatever form it has.
func TestCombineKeepsTheTemplates(t *testing.T) {
	ours, err := Script(Plan{V: Version, Server: "lic-07", Epoch: 3, Controller: "https://c", Token: "t"})
	must(t, err)
	for _, alone := range []string{"", "#!/bin/sh\ntrue\n"} {
		if got := Without([]byte(alone)); string(got) != alone {
			t.Errorf("%q became %q", alone, got)
		}
	}
	if got := Without(ours); len(got) != 0 {
		t.Errorf("of our script alone remains %q", got)
	}
	if out, err := Combine([]byte(" \n"), ours); err != nil || !bytes.Equal(out, ours) {
		t.Errorf("alone: %q, %v", out, err)
	}
	nested, err := Combine([]byte("#cloud-config\na: b\n"), []byte("#!/bin/sh\necho nested\n"))
	must(t, err)
	nested = bytes.ReplaceAll(nested, []byte(boundary), []byte("==other=="))
	for name, row := range map[string]struct {
		theirs string
		want   [][2]string
	}{
		"script":       {"#!/bin/sh\necho theirs\n", [][2]string{{"text/x-shellscript", "#!/bin/sh\necho theirs\n"}}},
		"cloud-config": {"#cloud-config\npackages: [ü]\n", [][2]string{{"text/cloud-config", "#cloud-config\npackages: [ü]\n"}}},
		"include":      {"#include\nhttps://example.com/x", [][2]string{{"text/x-include-url", "#include\nhttps://example.com/x"}}},
		"compressed":   {"\x1f\x8b\x08\x00\xff", [][2]string{{"application/octet-stream", "\x1f\x8b\x08\x00\xff"}}},
		"the boundary": {"#!/bin/sh\n# --" + boundary + "--\n", [][2]string{{"text/x-shellscript", "#!/bin/sh\n# --" + boundary + "--\n"}}},
		"parts":        {string(nested), [][2]string{{"text/cloud-boothook", "#!/bin/sh\necho nested\n"}, {"text/cloud-config", "#cloud-config\na: b\n"}}},
	} {
		out, err := Combine([]byte(row.theirs), ours)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		m, err := mail.ReadMessage(bytes.NewReader(out))
		must(t, err)
		got := parts(t, m.Header.Get, m.Body)
		want := append([][2]string{{"text/cloud-boothook", string(ours)}}, row.want...)
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("%s:\n%q\nwant\n%q\nin\n%s", name, got, want, out)
		}
		if back := Without(out); string(back) != row.theirs {
			t.Errorf("%s: %q came back as %q", name, row.theirs, back)
		}
	}
	if _, err := Combine([]byte("<powershell>"), ours); !errors.Is(err, ErrForeign) {
		t.Error(err)
	}
}
