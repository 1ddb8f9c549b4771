package image

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// metaPackage always depends on Debian's newest kernel for virtual machines.
const metaPackage = "linux-image-cloud-amd64"

// kept are the modules of which the cache keeps what is there.
var kept = slices.Concat(sanModules, modules, targetModules, watchdogModules)

// kernel returns a directory of the cache with a vmlinuz and the wanted modules. Any
// version that is there will do: the guest is the lab's, and faces no network but that.
func kernel(ctx context.Context, cache string, wanted []string) (string, error) {
	have, _ := filepath.Glob(filepath.Join(cache, "linux-image-*", "vmlinuz"))
	for _, vmlinuz := range slices.Backward(have) {
		root := filepath.Dir(vmlinuz)
		if _, err := order(filepath.Join(root, "modules"), wanted); err == nil {
			return root, nil
		}
	}
	for _, tool := range []string{"apt-cache", "apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("%s: %w; the guest image needs Debian's packages, or a cache from such a machine", tool, ErrTool)
		}
	}
	name, err := packageName(ctx)
	if err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(cache, "fetch.*")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(work) }()
	// As root apt would drop to a user who may not write here.
	if err := run(ctx, work, "apt-get", "-o", "APT::Sandbox::User=root", "-qq", "download", name); err != nil {
		return "", fmt.Errorf("%w: %w; next: apt-get update", ErrPackage, err)
	}
	debs, _ := filepath.Glob(filepath.Join(work, "*.deb"))
	if len(debs) != 1 {
		return "", fmt.Errorf("%w: %d files came for %s", ErrPackage, len(debs), name)
	}
	if err := run(ctx, work, "dpkg-deb", "-x", debs[0], "root"); err != nil {
		return "", fmt.Errorf("%w: %w", ErrPackage, err)
	}
	return keep(filepath.Join(work, "root"), filepath.Join(cache, name))
}

func packageName(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-cache", "depends", metaPackage).Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s is not known here: %w; next: apt-get update", ErrPackage, metaPackage, err)
	}
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		if name, ok := strings.CutPrefix(strings.TrimSpace(s.Text()), "Depends: linux-image-"); ok {
			return "linux-image-" + name, nil
		}
	}
	return "", fmt.Errorf("%w: %s depends on no kernel", ErrPackage, metaPackage)
}

// keep takes the kernel and its modules over: a fourth of what was unpacked.
func keep(root, to string) (string, error) {
	vmlinuz, _ := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	versions, _ := filepath.Glob(filepath.Join(root, "lib/modules/*/kernel"))
	if len(vmlinuz) != 1 || len(versions) != 1 {
		return "", fmt.Errorf("%w: it holds %d kernels and %d sets of modules", ErrPackage, len(vmlinuz), len(versions))
	}
	work := filepath.Dir(root)
	part := filepath.Join(work, "kept")
	err := errors.Join(
		os.Mkdir(part, 0o755),                           //nolint:gosec // G301: no secret
		os.Mkdir(filepath.Join(part, "modules"), 0o755), //nolint:gosec // G301: no secret
		os.Rename(vmlinuz[0], filepath.Join(part, "vmlinuz")),
	)
	if err != nil {
		return "", err
	}
	paths, err := order(versions[0], kept)
	if err != nil {
		return "", err
	}
	for _, p := range paths {
		if err := os.Rename(p, filepath.Join(part, "modules", filepath.Base(p))); err != nil {
			return "", err
		}
	}
	err = os.Rename(part, to)
	if errors.Is(err, fs.ErrExist) { // one that was kept with fewer modules
		err = errors.Join(os.RemoveAll(to), os.Rename(part, to))
	}
	return to, err
}

// run runs a tool in dir and puts what it said into the error.
func run(ctx context.Context, dir, tool string, args ...string) error {
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%s: %w", tool, ErrTool)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", tool, err, bytes.TrimSpace(out[:min(len(out), 400)]))
	}
	return nil
}

// findGuest returns the guest agent's program: the given one, the one beside this
// program, or one that is built from source.
func findGuest(ctx context.Context, o Options) (string, error) {
	if o.Guest != "" {
		return o.Guest, nil
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "relight-guest")
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	to, err := filepath.Abs(filepath.Join(o.Cache, "relight-guest"))
	if err != nil {
		return "", err
	}
	part := fmt.Sprintf("%s.%d", to, os.Getpid()) // another build may be reading the old one
	defer func() { _ = os.Remove(part) }()
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "lambda.norpc", "-trimpath", "-ldflags", "-s -w", "-o", part, "relight/cmd/relight-guest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: it is not beside this program, and building it failed: %w: %s", ErrGuest, err, bytes.TrimSpace(out[:min(len(out), 400)]))
	}
	return to, os.Rename(part, to)
}
