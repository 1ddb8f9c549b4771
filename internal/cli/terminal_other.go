//go:build !linux

package cli

import "os"

// IsTerminal reports whether a person is at the other end of the file.
func IsTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}
