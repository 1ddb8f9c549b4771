package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// HangVMs stops the virtual CPUs of a host's machines through QEMU: the machine's
// process answers, and its guest does nothing. QEMU talks to one at a time, so the
// host's agent is restarted for it.
func (l *Lab) HangVMs(ctx context.Context, host string) error {
	found, err := l.VMs(host)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("%s runs no virtual machine", host)
	}
	if err := l.KillAgent(ctx, host); err != nil {
		return err
	}
	for _, pid := range found {
		if err := qmp(ctx, pid, "stop"); err != nil {
			return fmt.Errorf("machine of process %d: %w", pid, err)
		}
	}
	return l.StartAgent(ctx, host)
}

// qmp gives a machine's monitor a command.
func qmp(ctx context.Context, pid int, command string) error {
	// Through the directory's descriptor: a socket's address holds 107 bytes.
	dir, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/qmp.sock", dir.Fd()))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if t, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(t)
	}
	lines := bufio.NewScanner(c)
	for _, do := range []string{"", "qmp_capabilities", command} {
		if do != "" {
			if _, err := fmt.Fprintf(c, `{"execute":%q}`+"\n", do); err != nil {
				return err
			}
		}
		if err := answered(lines, do == ""); err != nil {
			return fmt.Errorf("%s: %w", do, err)
		}
	}
	return nil
}

// answered reads until the answer to a command, or the greeting.
func answered(lines *bufio.Scanner, greeting bool) error {
	for lines.Scan() {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return err
		}
		if e, no := m["error"]; no {
			return fmt.Errorf("QEMU refuses: %s", strings.TrimSpace(string(e)))
		}
		if _, ok := m["return"]; ok && !greeting {
			return nil
		}
		if _, ok := m["QMP"]; ok && greeting {
			return nil
		}
	}
	return fmt.Errorf("the monitor hung up: %w", lines.Err())
}
