package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// targetModules make the guest's own kernel an iSCSI target that others reach.
var targetModules = []string{"virtio_pci", "virtio_net", "target_core_mod", "target_core_file", "iscsi_target_mod", "tcp_diag"}

// Target makes an image whose init is a given static program, and whose kernel can be an
// iSCSI target. The initrd is put beside the program. Errors: ErrTool, ErrPackage.
func Target(ctx context.Context, cache, program string) (Image, error) {
	return started(ctx, cache, program, targetModules)
}

// watchdogModules give the guest's kernel a watchdog of its own, /dev/watchdog.
var watchdogModules = []string{"softdog"}

// Watchdog makes an image whose init is a given static program, and whose kernel has a
// watchdog that resets the machine. The initrd is put beside the program. Errors: ErrTool,
// ErrPackage.
func Watchdog(ctx context.Context, cache, program string) (Image, error) {
	return started(ctx, cache, program, watchdogModules)
}

// started makes an image that starts the program, with these modules.
func started(ctx context.Context, cache, program string, modules []string) (Image, error) {
	if err := os.MkdirAll(cache, 0o755); err != nil { //nolint:gosec // G301: no secret, and others may boot it
		return Image{}, fmt.Errorf("image of %s: %w", program, err)
	}
	root, err := kernel(ctx, cache, modules)
	if err != nil {
		return Image{}, fmt.Errorf("image of %s: %w", program, err)
	}
	img := Image{Kernel: filepath.Join(root, "vmlinuz"), Initrd: program + ".initrd"}
	if err := initrd(img.Initrd, program, root, modules, nil); err != nil {
		return Image{}, fmt.Errorf("image of %s: %w", program, err)
	}
	return img, nil
}
