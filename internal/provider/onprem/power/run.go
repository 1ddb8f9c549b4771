package power

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"relight/internal/core/fleet"
)

const (
	// keepOut is how much of a program's output is looked at; the longest metadata
	// of a fence agent has 60 KiB.
	keepOut = 256 << 10
	// keepComplaint is how much of a device's complaint is kept, in bytes.
	keepComplaint = 400
	// drain is how long pipes may stay open after everything was killed.
	drain = time.Second
)

// errHopeless marks what no repetition can change.
var errHopeless = errors.New("no use to try again")

// answer is what one call of a program gave.
type answer struct {
	// code is the exit code; -1 if there is none.
	code int
	// out is the start of standard output, and cut is true if there was more;
	// said is the end of standard error.
	out, said []byte
	cut       bool
	// err is why the program did not start or did not end by itself.
	err error
}

// failure is the error of a call that did not end with 0.
func (a answer) failure(action string) error {
	switch {
	case a.err != nil:
		if c := a.complaint(); c != "" {
			return fmt.Errorf("%s: %w: %s", action, a.err, c)
		}
		return fmt.Errorf("%s: %w", action, a.err)
	case a.code == 0:
		return nil
	default:
		return fmt.Errorf("%s: %w", action, &CodeError{Code: a.code, Said: a.complaint()})
	}
}

// complaint is the end of what the program said, on standard error if there.
func (a answer) complaint() string {
	said := bytes.TrimSpace(a.said)
	if len(said) == 0 {
		said = bytes.TrimSpace(a.out)
	}
	if len(said) > keepComplaint {
		said = said[len(said)-keepComplaint:]
	}
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(said), "?"))
	return strings.Join(strings.Fields(clean), " ")
}

// CodeError is the exit code of a fence agent that failed.
type CodeError struct {
	Code int
	// Said is the end of what it printed, on one line.
	Said string
}

// Error implements error.
func (e *CodeError) Error() string {
	s := fmt.Sprintf("it ended with %d", e.Code)
	if word := codes[e.Code]; word != "" {
		s += " (" + word + ")"
	}
	if e.Said != "" {
		s += ": " + e.Said
	}
	return s
}

// codes are the exit codes above 2 of ClusterLabs' library. Most of its agents end
// with 1 for all of them and only say which in text.
var codes = map[int]string{
	1: "failed, or the device cannot be reached", 3: "login refused", 4: "connection lost", 5: "timed out",
	6: "timed out waiting for on", 7: "timed out waiting for off", 8: "no such plug, or no state", 10: "no password",
	11: "not allowed", 126: "not executable", 127: "not found",
}

// run calls the device's program once and waits for its end, not for longer than
// the device's time-out. Nothing of its process group outlives the call.
func run(ctx context.Context, d fleet.PowerDevice, action string) answer {
	timeout := d.Timeout.Std()
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if ctx.Err() != nil {
		return answer{code: -1, err: ctx.Err()}
	}
	out, said := &head{max: keepOut}, &tail{max: 2 * keepComplaint}
	cmd := exec.Command(d.Command[0], d.Command[1:]...) //nolint:gosec,noctx // the spec names the program, and its whole group is ended
	cmd.Stdin = strings.NewReader(input(d, action))
	cmd.Stdout, cmd.Stderr = out, said
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PYTHONWARNINGS=ignore")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = drain
	if err := cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w: %w", errHopeless, err)
		}
		return answer{code: -1, err: err}
	}
	hung := end(ctx, cmd.Process.Pid)
	err := cmd.Wait()
	a := answer{code: cmd.ProcessState.ExitCode(), out: out.kept(), said: said.kept(), cut: out.cut()}
	var exit *exec.ExitError
	switch {
	case hung:
		a.code, a.err = -1, ctx.Err()
	case err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay):
		a.code, a.err = -1, err
	case a.code < 0:
		a.err = err // ended by a signal
	}
	return a
}

// end waits for the program's end or for ctx, and then kills what is left of its
// process group: fence agents start children (ipmitool, ssh), and one that hangs
// must not switch something off after we have given up on it. It reports whether
// the program itself had to be killed. The program is not reaped here, so that its
// number, which is the group's too, cannot become another's meanwhile.
func end(ctx context.Context, pid int) (hung bool) {
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		for {
			err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
			if !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	select {
	case <-exited:
	case <-ctx.Done():
		hung = true
	}
	_ = unix.Kill(-pid, unix.SIGKILL)
	_ = unix.Kill(pid, unix.SIGKILL)
	<-exited
	return hung
}

// input is what the program reads. Options come first and the last of a name wins,
// so that none of them can take the place of the action or the plug.
func input(d fleet.PowerDevice, action string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(d.Options)) {
		fmt.Fprintf(&b, "%s=%s\n", oneLine(name), oneLine(d.Options[name]))
	}
	fmt.Fprintf(&b, "action=%s\nplug=%s\n", action, oneLine(d.Plug))
	return b.String()
}

// oneLine keeps a value from becoming a second option.
func oneLine(s string) string {
	return strings.NewReplacer("\n", " ", "\r", " ", "\x00", " ").Replace(s)
}
