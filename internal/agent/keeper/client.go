package keeper

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// socketPath returns a short path to the instance directory's socket: the real
// one may be longer than the 107 bytes that a socket's address can hold.
func socketPath(dir *os.File) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), socketName)
}

// Start starts the keeper of the instance directory dir, as argv + "--dir" dir
// with the environment env, in a process group of its own, in the caller's
// session. Its socket accepts connections when Start returns. The caller waits
// for the command.
func Start(dir string, argv, env []string) (*exec.Cmd, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	if err := os.Remove(filepath.Join(dir, socketName)); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	// The agent listens and hands the socket over: there is no moment in which a
	// keeper lives and cannot be reached.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socketPath(d), Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	defer func() { _ = l.Close() }()
	socket, err := l.File()
	if err != nil {
		return nil, err
	}
	defer func() { _ = socket.Close() }()
	log, err := os.OpenFile(filepath.Join(dir, LogName), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	args := append(append([]string{}, argv...), "--dir", dir)
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // a keeper outlives whoever started it
	cmd.Env = append([]string{}, env...)      // not nil: that would be the agent's own
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, cmd.Start()
}

func dial(ctx context.Context, dir string) (net.Conn, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, noKeeper(ctx, err)
	}
	defer func() { _ = d.Close() }()
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "unix", socketPath(d))
	if err != nil {
		return nil, noKeeper(ctx, err)
	}
	return c, nil
}

// noKeeper tells a keeper that is not there from one that could not be asked: the
// processes of a lost keeper are killed without grace, and a caller who gave up, or an
// agent without a free descriptor, must not be the reason.
func noKeeper(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: %v", ErrNoKeeper, err)
	default:
		return fmt.Errorf("ask the keeper: %w", err)
	}
}

// Call asks the keeper of the instance directory once. It fails with ErrNoKeeper
// if none answers, with ctx's error, or with what the keeper says.
func Call(ctx context.Context, dir string, r Request) (Status, error) {
	var got Status
	err := stream(ctx, dir, r, func(st Status) bool {
		got = st
		return false
	})
	return got, err
}

// Watch calls f with the instance's status, now and after each change, until ctx
// ends or the keeper does, which is ErrNoKeeper.
func Watch(ctx context.Context, dir string, r Request, f func(Status)) error {
	r.Op = OpWatch
	return stream(ctx, dir, r, func(st Status) bool {
		f(st)
		return true
	})
}

// stream sends one request and reads answers for as long as f wants more.
func stream(ctx context.Context, dir string, r Request, f func(Status) bool) error {
	c, err := dial(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	fail := func(err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %v", ErrNoKeeper, err)
	}
	if err := json.NewEncoder(c).Encode(r); err != nil {
		return fail(err)
	}
	d := json.NewDecoder(bufio.NewReader(c))
	for {
		var a Response
		if err := d.Decode(&a); err != nil {
			return fail(err)
		}
		if err := a.err(); err != nil {
			return err
		}
		if a.Status == nil {
			return fail(fmt.Errorf("empty answer"))
		}
		if !f(*a.Status) {
			return nil
		}
	}
}
