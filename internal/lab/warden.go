package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// warden is a process that outlives us: when our end of its pipe closes without a
// word, we have ended, however that came, and it takes the lab down in our place.
type warden struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

func startWarden(exe, name string) (*warden, error) {
	cmd := exec.Command(exe, "lab", "warden", "--name", name) //nolint:noctx // it outlives us: that is its purpose
	cmd.Env = plain(os.Environ())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &warden{cmd: cmd, pipe: pipe}, cmd.Start()
}

// dismissed is what the warden is told when there is nothing left to do.
const dismissed = "done"

func (w *warden) dismiss() error {
	if _, err := io.WriteString(w.pipe, dismissed); err != nil {
		return fmt.Errorf("dismiss the warden: %w", err)
	}
	_ = w.pipe.Close()
	return w.cmd.Wait()
}

// Watch is the warden's work: it waits until in ends and then, unless it was
// dismissed, takes the lab down.
func Watch(in io.Reader, name string) error {
	if word, _ := io.ReadAll(in); string(word) == dismissed {
		return nil
	}
	return Down(context.Background(), name)
}
