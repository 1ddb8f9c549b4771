package mount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"relight/internal/core/fleet"
	"relight/internal/core/mount"
)

const (
	// keysDir is where a volume keeps a server's host keys, keysOf the file in it that is
	// written last: the epoch that had them.
	keysDir = ".relight/ssh"
	keysOf  = "of"
	// keyFiles are the machine's in its directory of SSH, with what belongs to them.
	keyFiles = "ssh_host_*_key*"
)

// hostKeys takes the server's host keys a step further, and says how it stands with them.
func (v *Volumes) hostKeys(ctx context.Context, path string) string {
	seen, err := v.machine.seeKeys(path)
	if err != nil {
		return "its SSH host keys could not be read: " + err.Error()
	}
	switch mount.NextKeys(v.epoch, seen) {
	case mount.KeysKeep:
		if err := keep(path, seen.Own, v.epoch); err != nil {
			return "its SSH host keys could not be kept: " + err.Error()
		}
	case mount.KeysTake:
		err := v.machine.takeKeys(ctx, seen)
		if err == nil {
			err = keep(path, seen.Kept, v.epoch)
		}
		if err != nil {
			return "the server's SSH host keys could not be put back: " + err.Error()
		}
	case mount.KeysWait:
		return "its SSH host keys are awaited"
	case mount.KeysDone:
	}
	return "its SSH host keys are the server's"
}

func (m *Machine) seeKeys(path string) (seen mount.KeysSeen, err error) {
	kept := filepath.Join(path, keysDir)
	of, err := os.ReadFile(filepath.Join(kept, keysOf))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return seen, err
	default:
		n, err := strconv.ParseUint(strings.TrimSpace(string(of)), 10, 64)
		if err != nil {
			return seen, fmt.Errorf("%s/%s: %w", kept, keysOf, err)
		}
		seen.Of = fleet.Epoch(n)
		if seen.Kept, err = readKeys(kept); err != nil {
			return seen, err
		}
	}
	if seen.Own, err = readKeys(filepath.Join(m.Etc, "ssh")); err != nil {
		return seen, err
	}
	// cloud-init deletes an instance's keys at its first boot, and makes new ones.
	_, working := os.Stat(filepath.Join(m.RunDir, "cloud-init"))
	_, over := os.Stat(filepath.Join(m.RunDir, "cloud-init/result.json"))
	seen.Settled = working != nil || over == nil
	return seen, nil
}

func readKeys(dir string) (mount.Keys, error) {
	names, err := filepath.Glob(filepath.Join(dir, keyFiles))
	if err != nil {
		return nil, err
	}
	all := mount.Keys{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		all[filepath.Base(name)] = string(b)
	}
	return all, nil
}

// writeKey writes a file in one step, readable by its owner only unless it is public.
func writeKey(dir, name, text string) error {
	mode := os.FileMode(0o600)
	if strings.HasSuffix(name, ".pub") {
		mode = 0o644
	}
	f, err := os.CreateTemp(dir, ".relight-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, name))
}

// takeKeys gives the machine the kept keys instead of its own, and has its SSH server read
// them.
func (m *Machine) takeKeys(ctx context.Context, seen mount.KeysSeen) error {
	dir := filepath.Join(m.Etc, "ssh")
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // G301: as the system has it
		return err
	}
	for name, text := range seen.Kept {
		if err := writeKey(dir, name, text); err != nil {
			return err
		}
	}
	for name := range seen.Own {
		if _, is := seen.Kept[name]; !is {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	// Debian and its kin call the service ssh, others sshd; the other one is not there.
	for _, unit := range []string{"ssh.service", "sshd.service"} {
		if _, _, err := m.Run(ctx, "systemctl", "try-reload-or-restart", unit); err != nil {
			return nil // no systemd: whoever starts sshd later starts it with these
		}
	}
	return nil
}

// keep puts the keys on the volume in one step: a machine that ends meanwhile leaves
// the ones before, whole.
func keep(path string, keys mount.Keys, epoch fleet.Epoch) error {
	kept := filepath.Join(path, keysDir)
	fresh := kept + ".new"
	if err := errors.Join(os.RemoveAll(fresh), os.MkdirAll(fresh, 0o700)); err != nil {
		return err
	}
	for name, text := range keys {
		if err := writeKey(fresh, name, text); err != nil {
			return err
		}
	}
	if err := writeKey(fresh, keysOf, strconv.FormatUint(uint64(epoch), 10)+"\n"); err != nil {
		return err
	}
	err := os.Rename(fresh, kept)
	if errors.Is(err, fs.ErrExist) {
		err = unix.Renameat2(unix.AT_FDCWD, fresh, unix.AT_FDCWD, kept, unix.RENAME_EXCHANGE)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(kept))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close(), os.RemoveAll(fresh))
}
