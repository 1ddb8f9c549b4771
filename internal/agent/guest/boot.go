package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ModuleList names the kernel modules in the order in which they are loaded, one
// path a line.
const ModuleList = "/modules/order"

// Boot makes a bare kernel into a system: file systems and modules. What fails hinders
// nothing else.
func Boot() error {
	var errs []error
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		errs = append(errs, os.MkdirAll(m[1], 0o755)) //nolint:gosec // G301: mount points
		if err := unix.Mount(m[0], m[1], m[0], 0, ""); err != nil && err != unix.EBUSY {
			errs = append(errs, fmt.Errorf("mount %s: %w", m[1], err))
		}
	}
	list, err := os.ReadFile(ModuleList)
	if err != nil && !os.IsNotExist(err) {
		errs = append(errs, err)
	}
	for path := range strings.FieldsSeq(string(list)) {
		if err := loadModule(path); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && err != unix.EEXIST {
		return fmt.Errorf("module %s: %w", filepath.Base(path), err)
	}
	return nil
}

// powerButton waits for the machine's power button, and obeys it.
func (g *inside) powerButton() {
	var paths []string
	_ = wait(func() error {
		if paths, _ = filepath.Glob(filepath.Join(g.dev, "input/event*")); len(paths) == 0 {
			return os.ErrNotExist
		}
		return nil
	})
	for _, path := range paths {
		go func() {
			f, err := os.Open(path)
			if err != nil {
				return
			}
			// struct input_event: a time of 16 bytes, then type, code, value.
			const evKey, keyPower = 1, 116
			for b := make([]byte, 24); ; {
				if n, err := f.Read(b); err != nil || n < len(b) {
					return
				}
				if binary.NativeEndian.Uint16(b[16:]) == evKey && binary.NativeEndian.Uint16(b[18:]) == keyPower && binary.NativeEndian.Uint32(b[20:]) == 1 {
					g.powerOff()
				}
			}
		}()
	}
}
