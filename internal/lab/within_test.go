package lab

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// A program that looks into a host's network stays where it is: processes are told apart by
// the namespace of their first thread, and all of a host are killed when it loses its power.
func TestWithinStaysOutside(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root to make a network namespace")
	}
	name := fmt.Sprintf("rlab-within-%d", os.Getpid())
	if out, err := exec.CommandContext(t.Context(), "ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: no network namespace can be made: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", name).Run() })
	before, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		inside := ""
		err := within(name, func() (err error) {
			inside, err = os.Readlink("/proc/thread-self/ns/net")
			return err
		})
		if err != nil || inside == before {
			t.Fatalf("inside %s, outside %s, %v", inside, before, err)
		}
		if is, err := os.Readlink("/proc/self/ns/net"); err != nil || is != before {
			t.Fatalf("the program is in %s now, was in %s (%v)", is, before, err)
		}
	}
}
