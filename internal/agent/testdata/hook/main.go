// Hook is what an administrator's relight.quiesce program may be, for a guest that has an
// ext4 disk beside its own: "freeze" mounts it, writes a file that it does not sync, and
// leaves a process behind that writes without pause.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const at = "/data"

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "hook:", err)
		os.Exit(1)
	}
}

func run(word string) error {
	switch word {
	case "freeze":
	case "write":
		return write()
	default:
		return nil
	}
	if err := mount(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(at, "before"), []byte("written before the freeze\n"), 0o600); err != nil {
		return err
	}
	_, err := os.StartProcess("/hook", []string{"/hook", "write"}, &os.ProcAttr{Files: []*os.File{nil, os.Stderr, os.Stderr}})
	return err
}

func mount() error {
	if _, err := os.Stat(filepath.Join(at, "lost+found")); err == nil {
		return nil
	}
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	disks, err := filepath.Glob("/dev/[sv]d?")
	if err != nil {
		return err
	}
	for _, d := range disks {
		if err = syscall.Mount(d, at, "ext4", 0, ""); err == nil {
			return nil
		}
	}
	return fmt.Errorf("no ext4 on %v: %w", disks, err)
}

func write() error {
	for n := 0; ; n++ {
		if err := os.WriteFile(filepath.Join(at, "during"), fmt.Appendf(nil, "%d\n", n), 0o600); err != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}
