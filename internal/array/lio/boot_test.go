package lio

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"relight/internal/agent/guest"
)

// verdict begins the last line that the machine's console shows.
const verdict = "the tests on the kernel ended with "

// TestMain runs the tests; as the init of a virtual machine it first makes a system of the
// bare kernel, runs those on the kernel, and switches the machine off.
func TestMain(m *testing.M) {
	if os.Getpid() != 1 {
		os.Exit(m.Run())
	}
	code := 1
	if err := boot(); err != nil {
		fmt.Println(err)
	} else {
		flag.Parse()
		_ = flag.Set("test.run", "^TestInside"+os.Getenv("TEST_ONLY"))
		_ = flag.Set("test.v", "true")
		_ = flag.Set("test.timeout", "5m") // says where it hangs, before the machine is given up
		code = m.Run()
	}
	fmt.Printf("%s%d\n", verdict, code)
	_ = os.Stdout.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// boot mounts what the tests need, loads the modules that the image names, and gives the
// machine its loopback interface.
func boot() error {
	// Where the kernel keeps registrations that outlive a restart, as targetcli's package has
	// it. It looks for that as its module is loaded.
	for _, dir := range []string{"/tmp", "/etc/target/pr"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("tmpfs", "/tmp", "tmpfs", 0, "size=64m"); err != nil {
		return fmt.Errorf("mount /tmp: %w", err)
	}
	if err := guest.Boot(); err != nil {
		return err
	}
	if err := unix.Mount("configfs", "/sys/kernel/config", "configfs", 0, ""); err != nil {
		return fmt.Errorf("mount configfs: %w", err)
	}
	return loopback()
}

// loopback brings the interface lo up.
func loopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(s) }()
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r)
}
