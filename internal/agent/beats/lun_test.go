package beats

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relight/internal/array/arraytest/tgtd"
)

const (
	beatsTarget = "iqn.2026-01.org.example:beats"
	beatsSecret = "secretsecret12"
)

// serve has a target that has just begun serve an empty LUN to all who know a secret.
func serve(t *testing.T, d *tgtd.Daemon, file string) {
	t.Helper()
	for _, line := range []string{
		"--op new --mode target --tid 1 -T " + beatsTarget, "--op new --mode logicalunit --tid 1 --lun 12 -b " + file,
		"--op bind --mode target --tid 1 -I ALL", "--op new --mode account --user beats --password " + beatsSecret, "--op bind --mode account --tid 1 --user beats",
	} {
		if err := d.Admin(line); err != nil {
			t.Fatal(err)
		}
	}
}

// Two hosts on a LUN of a real target: they see each other, lose it, and find it again.
func TestAreaOnALUN(t *testing.T) {
	d := tgtd.New(t)
	file := filepath.Join(t.TempDir(), "beats.img")
	if err := os.WriteFile(file, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	serve(t, d, file)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(beatsSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	host := func(name, secretFile string) *Area {
		t.Helper()
		s, err := Parse("iscsi://beats@"+d.Portal+"/"+beatsTarget+"/12", name, secretFile)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s.(*Area)
	}
	one, two := host("host-1", secret), host("host-2", secret)
	for _, text := range []string{"1", "2"} {
		beat(t, one, "host-1", text)
		beat(t, two, "host-2", text)
		sees(t, one, map[string]string{"host-1": text, "host-2": text})
	}
	wrong := secret + ".wrong"
	if err := os.WriteFile(wrong, []byte("another-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := host("host-3", wrong).Write(t.Context(), "host-3", nil); err == nil || !strings.Contains(err.Error(), "authentication failed") {
		t.Errorf("a wrong secret: %v", err)
	}
	d.Stop()
	if err := one.Write(t.Context(), "host-1", []byte("3")); err == nil {
		t.Error("wrote to an array that is gone")
	}
	d.Start()
	serve(t, d, file)
	if got, err := two.Read(t.Context()); err == nil {
		t.Errorf("read %v over a session that had ended", got)
	}
	beat(t, one, "host-1", "4")
	sees(t, two, map[string]string{"host-1": "4", "host-2": "2"})
}
