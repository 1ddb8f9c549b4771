package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"

	api "relight/internal/api/client"
	"relight/internal/core/fleet"
	"relight/internal/dev"
)

// ErrNoDrill means that a fleet of relight dev cannot do what was asked.
var ErrNoDrill = errors.New("a fleet of relight dev cannot do this")

// Drill is the program that relight drill calls to break a fleet of relight dev: args
// are those of drill.Program. dir is the fleet's directory.
func Drill(ctx context.Context, dir string, args []string, in io.Reader, out io.Writer) error {
	s, err := newStriker(dir)
	if err != nil {
		return err
	}
	switch {
	case len(args) == 4 && args[0] == "break":
		return s.strike(ctx, fleet.DrillName(args[1]), args[2], args[3])
	case len(args) == 4 && args[0] == "mend":
		return s.mend(ctx, fleet.DrillName(args[1]), args[3], out)
	case len(args) == 3 && args[0] == "write":
		_, err := s.ask(ctx, args[1], http.MethodPost, "/write?id="+url.QueryEscape(args[2]))
		return err
	case len(args) == 2 && args[0] == "check":
		return s.check(ctx, args[1], in, out)
	default:
		return fmt.Errorf("%w: %s", ErrNoDrill, strings.Join(args, " "))
	}
}

// striker breaks a fleet that somebody else has started.
type striker struct {
	dir string
	api *api.Client
}

func newStriker(dir string) (striker, error) {
	c, err := dev.Connect(dir)
	return striker{dir: dir, api: c}, err
}

func (s striker) strike(ctx context.Context, name fleet.DrillName, server, host string) error {
	switch name {
	case fleet.DrillAppKill, fleet.DrillData:
		return s.signal(ctx, server, host, syscall.SIGKILL)
	case fleet.DrillHang:
		return s.signal(ctx, server, host, syscall.SIGSTOP)
	case fleet.DrillHostLoss:
		return s.power("off", host, io.Discard)
	default:
		return fmt.Errorf("%w: %s", ErrNoDrill, name)
	}
}

// mend switches a lost host on again; what else is broken is healed.
func (s striker) mend(_ context.Context, name fleet.DrillName, host string, out io.Writer) error {
	if name != fleet.DrillHostLoss {
		return nil
	}
	return s.power("on", host, out)
}

func (s striker) power(action, host string, out io.Writer) error {
	options := fmt.Sprintf("action=%s\nplug=%s\ndir=%s\n", action, host, s.dir)
	if code := dev.Power(context.Background(), strings.NewReader(options), out); code != 0 {
		return fmt.Errorf("switch %s %s: exit code %d", host, action, code)
	}
	return nil
}

// signal sends a signal to a server's application, found through its address as
// anybody would. It refuses to hit a process that is not of this fleet.
func (s striker) signal(ctx context.Context, server, host string, sig syscall.Signal) error {
	text, err := s.ask(ctx, server, http.MethodGet, "/whoami")
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return err
	}
	id, err := dev.FleetOf(s.dir, host)
	if err != nil {
		return err
	}
	ours, err := dev.Pids(id, host)
	if err != nil {
		return err
	}
	if !slices.Contains(ours, pid) {
		return fmt.Errorf("%s, pid %d: %w", server, pid, errStranger)
	}
	return syscall.Kill(pid, sig)
}

// ask asks a server's application through the address at which it is checked.
func (s striker) ask(ctx context.Context, server, method, path string) (string, error) {
	view, err := s.api.Server(ctx, server)
	if err != nil {
		return "", err
	}
	at, err := url.Parse(view.Server.Spec.Health.Check.HTTP)
	if err != nil || at.Host == "" {
		return "", fmt.Errorf("%w: %s has no check over HTTP", ErrNoDrill, server)
	}
	c := client{url: "http://" + at.Host, http: &http.Client{Timeout: clientTimeout}}
	return c.ask(ctx, method, path)
}

// check holds the volume's log against the acknowledged ids.
func (s striker) check(ctx context.Context, server string, in io.Reader, out io.Writer) error {
	view, err := s.api.Server(ctx, server)
	if err != nil {
		return err
	}
	if len(view.Server.Spec.Identity.Volumes) == 0 {
		return fmt.Errorf("%w: %s has no volume", ErrNoDrill, server)
	}
	var acked []uint64
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		id, err := strconv.ParseUint(strings.TrimSpace(lines.Text()), 10, 64)
		if err != nil {
			return err
		}
		acked = append(acked, id)
	}
	if err := lines.Err(); err != nil {
		return err
	}
	f, err := Check(view.Server.Spec.Identity.Volumes[0].Path, acked)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(map[string]int{"lost": f.AckedLost, "twoWriters": f.TwoWriters})
}
