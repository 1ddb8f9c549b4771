package beats

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	dir := t.TempDir()
	file, secret := filepath.Join(dir, "file"), filepath.Join(dir, "secret")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.WriteFile(secret, []byte("s3cret-of-beats\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	const good = "iscsi://beats@10.0.9.1:3260/iqn.2026-01.org.example:beats/12"
	for where, want := range map[string]string{
		file:                                    "neither a directory nor a block device",
		"/dev/null":                             "neither a directory nor a block device",
		"iscsi://10.0.9.1/iqn.x:b/1":            "the portal is no address:port",
		"iscsi://10.0.9.1:/iqn.x:b/1":           "the portal is no address:port",
		"iscsi://10.0.9.1:3260/beats/1":         `the target "beats"`,
		"iscsi://10.0.9.1:3260/iqn.x:b":         `the unit ""`,
		"iscsi://10.0.9.1:3260/iqn.x:b/256":     `the unit "256"`,
		"iscsi://10.0.9.1:3260/iqn.x:b/0x1":     `the unit "0x1"`,
		"iscsi://10.0.9.1:3260/iqn.x:b/1/2":     `the unit "1/2"`,
		"iscsi://me:it@10.0.9.1:3260/iqn.x:b/1": "put it into a file",
		good:                                    "a user needs the file of a secret",
		"iscsi://%zz":                           "invalid",
	} {
		if s, err := Parse(where, "host-1", ""); !errors.Is(err, ErrWhere) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want %q", where, s, err, want)
		}
	}
	for _, where := range []string{dir, "iscsi://10.0.9.1:3260/iqn.x:b/1"} {
		if _, err := Parse(where, "host-1", secret); !errors.Is(err, ErrWhere) {
			t.Errorf("%s with a secret: %v", where, err)
		}
	}
	if _, err := Parse(good, "host-1", secret+".none"); !errors.Is(err, ErrWhere) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a secret that is not there: %v", err)
	}
	for _, where := range []string{dir, filepath.Join(dir, "not-mounted-yet")} {
		if s, err := Parse(where, "host-1", ""); err != nil || s != Dir(where) {
			t.Errorf("%s: %v, %v", where, s, err)
		}
	}
	got, err := parseLUN(good, "host-1", secret)
	if err != nil || got.unit != 12 || got.cfg.Portal != "10.0.9.1:3260" || got.cfg.Target != "iqn.2026-01.org.example:beats" || got.cfg.User != "beats" || got.cfg.Secret != "s3cret-of-beats" || got.cfg.Initiator != "iqn.2026-01.local.relight.beats:host-1" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestDir(t *testing.T) {
	d := Dir(t.TempDir())
	read := func() map[string]string {
		t.Helper()
		got, err := d.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, text := range []string{"1", "2"} {
		if err := d.Write(t.Context(), "host-1", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got := read(); len(got) != 1 || got["host-1"] != text {
			t.Errorf("read %q", got)
		}
	}
	for name, text := range map[string]string{"notes.txt": "x", "Host.beat": "x", "host-2.beat": strings.Repeat("x", contentMost+1)} {
		if err := os.WriteFile(filepath.Join(string(d), name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(); len(got) != 1 {
		t.Errorf("read %q", got)
	}
	none := d + "/none"
	if err := none.Write(t.Context(), "host-1", nil); err == nil {
		t.Error("wrote into a directory that is not there")
	}
	if _, err := none.Read(t.Context()); err == nil {
		t.Error("read a directory that is not there")
	}
}
