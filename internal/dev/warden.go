package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// warden is a process that outlives us: when our end of its pipe closes without a
// word, we have died, and it ends the fleet in our place. Keepers are made to
// outlive everybody, so a parent's death signal would not do.
type warden struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

func startWarden(exe, dir, id string, temporary bool) (*warden, error) {
	args := []string{"demo-warden", "--id", id}
	if temporary {
		args = append(args, "--remove", dir)
	}
	cmd := exec.Command(exe, args...) //nolint:noctx // it outlives us: that is its purpose
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

// dismiss ends the warden. If our own end of the fleet failed, it has its try.
func (w *warden) dismiss(done bool) error {
	if done {
		if _, err := io.WriteString(w.pipe, dismissed); err != nil {
			return fmt.Errorf("dismiss the warden: %w", err)
		}
	}
	return errors.Join(w.pipe.Close(), w.cmd.Wait())
}

// Watch is the warden's work: it waits until in ends and then, unless it was
// dismissed, ends the fleet with that id and removes the directory, if one is named.
func Watch(in io.Reader, id, remove string) error {
	word, _ := io.ReadAll(in)
	if string(word) == dismissed {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := Kill(ctx, id, "")
	if remove != "" {
		err = errors.Join(err, os.RemoveAll(remove))
	}
	return err
}
