package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"syscall"
	"time"

	"relight/internal/core/fleet"
)

const (
	defaultInterval = time.Second
	defaultTimeout  = time.Second
	// eager is the pace until the first yes: how soon a fresh instance is seen to
	// work is part of each recovery's length.
	eager = 50 * time.Millisecond
)

func interval(c fleet.Check) time.Duration {
	if c.Interval > 0 {
		return c.Interval.Std()
	}
	return defaultInterval
}

func timeout(c fleet.Check) time.Duration {
	if c.Timeout > 0 {
		return c.Timeout.Std()
	}
	return defaultTimeout
}

// look makes a check once.
func look(ctx context.Context, c fleet.Check) sight {
	ctx, cancel := context.WithTimeout(ctx, timeout(c))
	defer cancel()
	switch {
	case c.HTTP != "":
		return lookHTTP(ctx, c.HTTP)
	case c.TCP != "":
		return lookTCP(ctx, c.TCP)
	case len(c.Exec) > 0:
		return lookExec(ctx, c.Exec)
	default:
		return sight{detail: "there is no check"}
	}
}

func lookHTTP(ctx context.Context, url string) sight {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return sight{detail: err.Error()}
	}
	// A fresh connection each time: one that was opened before the last restart
	// says nothing about whether clients get in now. No proxy: the server itself
	// is asked. A redirect is an answer.
	c := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := c.Do(req)
	if err != nil {
		return unreached(ctx, err)
	}
	defer res.Body.Close()
	saw := sight{alive: fleet.Yes, works: fleet.Yes}
	// The body too: an application that hangs after its header does not work.
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20)); err != nil {
		saw.works, saw.detail = fleet.No, "answer broke off: "+err.Error()
	} else if res.StatusCode >= 400 {
		saw.works, saw.detail = fleet.No, res.Status
	}
	return saw
}

func lookTCP(ctx context.Context, addr string) sight {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return unreached(ctx, err)
	}
	_ = c.Close()
	return sight{alive: fleet.Yes, works: fleet.Yes}
}

// unreached tells what a failed connection says: a refusal or a silence is a no of
// this source; a fault on our own side is none (invariant S4).
func unreached(ctx context.Context, err error) sight {
	if errors.Is(ctx.Err(), context.Canceled) {
		return sight{detail: "the look was broken off"}
	}
	if overslept(ctx) {
		return sight{detail: ownStall}
	}
	for _, own := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL,
		syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EACCES, syscall.EPERM,
	} {
		if errors.Is(err, own) {
			return sight{detail: "this host cannot look: " + err.Error()}
		}
	}
	var name *net.DNSError
	if errors.As(err, &name) {
		return sight{detail: "this host cannot look: " + err.Error()}
	}
	return sight{alive: fleet.No, works: fleet.No, detail: err.Error()}
}

// group is a program that the spec names, in a process group of its own, which is ended as
// a whole when its time is over.
func group(ctx context.Context, argv []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

func lookExec(ctx context.Context, argv []string) sight {
	out, err := group(ctx, argv).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return sight{works: fleet.Yes}
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return sight{works: fleet.No, detail: "check did not end in time"}
	case ctx.Err() == nil && errors.As(err, &exit):
		if len(out) > 200 {
			out = out[:200]
		}
		return sight{works: fleet.No, detail: fmt.Sprintf("%v: %s", err, out)}
	default:
		return sight{detail: "check cannot be run: " + err.Error()}
	}
}
