package cli

import (
	"os"

	"golang.org/x/sys/unix"
)

// IsTerminal reports whether a person is at the other end of the file. A
// character device is not enough: /dev/null is one.
func IsTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
