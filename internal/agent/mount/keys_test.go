package mount

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relight/internal/core/fleet"
)

// keyed is one machine of a server whose volume is mounted at path.
type keyed struct {
	t    *testing.T
	m    *Machine
	v    *Volumes
	path string
	ran  []string
}

func newKeyed(t *testing.T, epoch fleet.Epoch, path string, own map[string]string) *keyed {
	t.Helper()
	k := &keyed{t: t, path: path}
	k.m = &Machine{Etc: t.TempDir(), RunDir: t.TempDir(), Run: func(_ context.Context, argv ...string) (string, int, error) {
		k.ran = append(k.ran, strings.Join(argv, " "))
		return "", 0, nil
	}}
	k.v = New(k.m, epoch, nil)
	k.set(own)
	return k
}

func (k *keyed) ssh(name string) string { return filepath.Join(k.m.Etc, "ssh", name) }

func (k *keyed) set(own map[string]string) {
	k.t.Helper()
	must(k.t, os.MkdirAll(k.ssh(""), 0o755))
	for name, text := range own {
		must(k.t, os.WriteFile(k.ssh(name), []byte(text), 0o600))
	}
}

func (k *keyed) wants(says string) {
	k.t.Helper()
	if got := k.v.hostKeys(k.t.Context(), k.path); !strings.Contains(got, says) {
		k.t.Fatalf("it says %q, not %q", got, says)
	}
}

func (k *keyed) has(name, text string) {
	k.t.Helper()
	b, err := os.ReadFile(k.ssh(name))
	must(k.t, err)
	st, err := os.Stat(k.ssh(name))
	must(k.t, err)
	want := os.FileMode(0o600)
	if strings.HasSuffix(name, ".pub") {
		want = 0o644
	}
	if string(b) != text || st.Mode().Perm() != want {
		k.t.Errorf("%s holds %q with mode %v", name, b, st.Mode())
	}
}

// A server's host keys follow it: the first machine's are kept once its setup is over, the
// next one takes them in place of its own and has sshd read them, and what a person changes
// there is what the third one takes.
func TestOP_NETID_HostKeys(t *testing.T) {
	volume := t.TempDir()
	one := newKeyed(t, 1, volume, map[string]string{"ssh_host_rsa_key": "image"})
	must(t, os.MkdirAll(filepath.Join(one.m.RunDir, "cloud-init"), 0o755))
	one.wants("awaited") // cloud-init has not made its own yet
	one.set(map[string]string{"ssh_host_rsa_key": "first", "ssh_host_rsa_key.pub": "first pub"})
	must(t, os.WriteFile(filepath.Join(one.m.RunDir, "cloud-init/result.json"), nil, 0o600))
	one.wants("are the server's")
	one.wants("are the server's")
	if st, err := os.Stat(filepath.Join(volume, keysDir)); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("kept with mode %v, %v", st.Mode(), err)
	}

	two := newKeyed(t, 2, volume, map[string]string{"ssh_host_rsa_key": "second", "ssh_host_ed25519_key": "another"})
	two.wants("are the server's")
	two.has("ssh_host_rsa_key", "first")
	two.has("ssh_host_rsa_key.pub", "first pub")
	if _, err := os.Stat(two.ssh("ssh_host_ed25519_key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it still has a key that the server never had: %v", err)
	}
	if !slices.Contains(two.ran, "systemctl try-reload-or-restart ssh.service") {
		t.Errorf("sshd was not told: %v", two.ran)
	}
	ran := len(two.ran)
	two.set(map[string]string{"ssh_host_rsa_key": "a person's", "ssh_host_rsa_key.pub": "a person's pub"})
	two.wants("are the server's")
	two.has("ssh_host_rsa_key", "a person's")
	if len(two.ran) != ran {
		t.Errorf("sshd was told for nothing: %v", two.ran[ran:])
	}

	one.wants("awaited") // it is past, and changes nothing
	three := newKeyed(t, 3, volume, nil)
	three.wants("are the server's")
	three.has("ssh_host_rsa_key", "a person's")
}

// A machine that ended while it kept keys left the ones before, whole.
func TestOP_NETID_HostKeysHalfKept(t *testing.T) {
	volume := t.TempDir()
	newKeyed(t, 1, volume, map[string]string{"ssh_host_rsa_key": "first"}).wants("are the server's")
	fresh := filepath.Join(volume, keysDir+".new")
	must(t, os.MkdirAll(fresh, 0o700))
	must(t, os.WriteFile(filepath.Join(fresh, "ssh_host_rsa_key"), []byte("ha"), 0o600))
	two := newKeyed(t, 2, volume, map[string]string{"ssh_host_rsa_key": "second"})
	two.wants("are the server's")
	two.has("ssh_host_rsa_key", "first")
	if _, err := os.Stat(fresh); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the half is left: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(volume, keysDir, keysOf), []byte("x"), 0o600))
	newKeyed(t, 3, volume, map[string]string{"ssh_host_rsa_key": "third"}).wants("could not be read")
}
