package guest

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// initiatorProgram logs in to a target that the firmware booted from.
const initiatorProgram = "/sbin/iscsistart"

const (
	// loginWithin is how long the program goes on with one login, and loginKill when it
	// is ended if it does not keep to that.
	loginWithin = 5 * time.Second
	loginKill   = 3 * loginWithin
	// loginTries bounds how often a way is tried: an epoch that was shut out must not
	// knock for ever. The pauses between them grow from loginPause to loginRest.
	loginTries = 12
	loginPause = time.Second
	loginRest  = time.Minute
	// switchAfter is how long the kernel holds the reads and writes of a way that was
	// lost before it fails them, where there is another way: nobody logs in there again.
	switchAfter = 10 * time.Second
)

// enter logs in by all ways at once: each shows all units of the epoch, and a dead one
// must not hold up the others. It returns nil as soon as one way is in, and what each
// said if all have failed once. Ways that failed are tried on, for a bounded time.
// Whoever needs a disk still has to wait for it.
func enter(ways []way, login func(way) error) error {
	if len(ways) == 0 {
		return errors.New("iBFT: no target is described")
	}
	first := make(chan error, len(ways))
	for _, w := range ways {
		go func() {
			err := login(w)
			first <- err
			if err != nil {
				say("%s: %v; it is tried again", w, err)
				enterLater(w, login)
			}
		}()
	}
	var errs []error
	for range ways {
		err := <-first
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func enterLater(w way, login func(way) error) {
	var err error
	rest := loginPause
	for range loginTries - 1 {
		time.Sleep(rest)
		rest = min(2*rest, loginRest)
		if err = login(w); err == nil {
			say("%s: logged in", w)
			return
		}
	}
	say("%s: given up after %d tries: %v", w, loginTries, err)
}

// loginArgs is the program's command line. The secret is on it: nobody else is in a guest
// whose init this is. several is whether there are other ways.
func loginArgs(initiator string, w way, several bool) []string {
	argv := []string{
		initiatorProgram, "-i", initiator, "-t", w.target, "-g", "1", "-a", w.portal, "-p", w.port,
		// One time out for one login, where the program's own are two minutes.
		"-P", "node.session.initial_login_retry_max=1",
		"-P", fmt.Sprintf("node.conn[0].timeo.login_timeout=%d", loginWithin/time.Second),
	}
	if w.user != "" {
		argv = append(argv, "-u", w.user, "-w", w.secret)
	}
	if several {
		argv = append(argv, "-P", fmt.Sprintf("node.session.timeo.replacement_timeout=%d", switchAfter/time.Second))
	}
	return argv
}

// runLogin has the kernel log in, so that the target's units become disks. The program is
// killed if it takes longer than it may.
func runLogin(argv []string, within time.Duration) error {
	p, err := os.StartProcess(argv[0], argv, &os.ProcAttr{
		Env: []string{"PATH=/sbin:/bin"}, Files: []*os.File{nil, os.Stderr, os.Stderr},
		Sys: &syscall.SysProcAttr{Setpgid: true}, // it has a child, which must end with it
	})
	if err != nil {
		return err
	}
	limit := time.AfterFunc(within, func() { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) })
	defer limit.Stop()
	s, err := p.Wait()
	if err == nil && !s.Success() {
		err = errors.New(s.String())
	}
	if err != nil {
		return fmt.Errorf("iscsistart: %w", err)
	}
	return nil
}
