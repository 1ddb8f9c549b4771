package rack

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// Warden is a process that outlives us: when our end of its pipe closes without a
// word, we have ended, however that came, and it ends the fleet in our place. Keepers
// are made to outlive everybody, so a parent's death signal would not do.
type Warden struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

// StartWarden starts a warden: this program with arguments with which it calls
// Watched on its standard input.
func StartWarden(exe string, args ...string) (*Warden, error) {
	cmd := exec.Command(exe, args...) //nolint:noctx // it outlives us: that is its purpose
	cmd.Env = Plain(os.Environ())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &Warden{cmd: cmd, pipe: pipe}, cmd.Start()
}

// dismissed is what the warden is told when there is nothing left to do.
const dismissed = "done"

// Dismiss ends the warden. If our own end of the fleet failed, it has its try.
func (w *Warden) Dismiss(done bool) error {
	if done {
		if _, err := io.WriteString(w.pipe, dismissed); err != nil {
			return fmt.Errorf("dismiss the warden: %w", err)
		}
	}
	return errors.Join(w.pipe.Close(), w.cmd.Wait())
}

// Watched is the warden's wait: it returns once its owner has ended, and reports
// whether the owner dismissed it, so that nothing is left to do.
func Watched(in io.Reader) bool {
	word, _ := io.ReadAll(in)
	return string(word) == dismissed
}
