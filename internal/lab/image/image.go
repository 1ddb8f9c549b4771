// Package image builds the small guest that the lab and the end-to-end tests run:
// Debian's kernel for virtual machines, the modules that it needs, and the guest
// agent as init. Nothing is installed on the machine that builds it.
package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Errors of Build and BootDisk.
var (
	// ErrTool: a program that is needed is not installed.
	ErrTool = errors.New("a program is missing")
	// ErrPackage: Debian's kernel package could not be fetched.
	ErrPackage = errors.New("the kernel package cannot be fetched")
	// ErrGuest: there is no relight-guest program to put in.
	ErrGuest = errors.New("the guest agent's program is missing")
)

// Options say what is built, and where.
type Options struct {
	// Cache keeps what was fetched and built. A second build takes from it what is
	// there, and needs no network.
	Cache string
	// Guest is the static relight-guest program; if empty it is looked for beside
	// this program, and else built from source.
	Guest string
}

// Image is a kernel and the file system that it starts from.
type Image struct {
	// Kernel and Initrd are paths below the cache.
	Kernel, Initrd string
	// SAN is a larger Initrd, which logs in to its LUNs itself after iPXE has booted
	// it from one of them; empty if Debian's open-iscsi is not installed here.
	SAN string
}

// modules are what the guest needs, before what these depend on.
var modules = []string{
	"virtio_pci", "virtio_console", "virtio_blk", "virtio_scsi", "sd_mod", "virtio_net",
	"evdev", "button", "pvpanic-pci", "virtio-rng",
}

// Build makes the image in the cache, or finds it there. Errors: ErrTool,
// ErrPackage, ErrGuest.
func Build(ctx context.Context, o Options) (Image, error) {
	if err := os.MkdirAll(o.Cache, 0o755); err != nil { //nolint:gosec // G301: no secret, and others may boot it
		return Image{}, fmt.Errorf("guest image: %w", err)
	}
	guest, err := findGuest(ctx, o)
	if err != nil {
		return Image{}, fmt.Errorf("guest image: %w", err)
	}
	root, err := kernel(ctx, o.Cache, slices.Concat(sanModules, modules))
	if err != nil {
		return Image{}, fmt.Errorf("guest image: %w", err)
	}
	img := Image{Kernel: filepath.Join(root, "vmlinuz"), Initrd: filepath.Join(o.Cache, "initrd.img")}
	if err := initrd(img.Initrd, guest, root, modules, nil); err != nil {
		return Image{}, fmt.Errorf("guest image: %w", err)
	}
	if extra, ok := initiator(); ok {
		img.SAN = filepath.Join(o.Cache, "initrd-san.img")
		if err := initrd(img.SAN, guest, root, append(sanModules, modules...), extra); err != nil {
			return Image{}, fmt.Errorf("guest image: %w", err)
		}
	}
	return img, nil
}

// initrd writes the archive that the kernel unpacks as its first file system.
func initrd(path, guest, root string, names []string, extra []file) error {
	paths, err := order(filepath.Join(root, "modules"), names)
	if err != nil {
		return err
	}
	files := []file{
		{name: "dev", mode: modeDir | 0o755},
		{name: "proc", mode: modeDir | 0o755},
		{name: "sys", mode: modeDir | 0o755},
		{name: "dev/console", mode: modeChar | 0o600, major: 5, minor: 1},
		{name: "init", mode: modeFile | 0o755, from: guest},
		{name: "modules", mode: modeDir | 0o755},
	}
	list := ""
	for _, p := range paths {
		name := "modules/" + filepath.Base(p)
		files = append(files, file{name: name, mode: modeFile | 0o644, from: p})
		list += "/" + name + "\n"
	}
	files = append(files, file{name: "modules/order", mode: modeFile | 0o644, data: []byte(list)})
	return replace(path, func(f *os.File) error { return archive(f, append(files, extra...)) })
}

// replace writes a file in one step: two builds at once must not mix.
func replace(path string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	err = errors.Join(write(f), f.Chmod(0o644), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
