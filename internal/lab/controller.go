package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"relight/internal/api/client"
)

// several is how many controllers a lab with more than one has.
const several = 3

// controllerArgs are those of every controller.
func (l *Lab) controllerArgs(name string, more ...string) []string {
	return append([]string{
		l.Exe, "controller", "--dir", l.path(name), "--name", name,
		"--listen", "0.0.0.0:7443", "--beat-listen", "0.0.0.0:7443", "--advertise", l.people(2), "--beat-lease", BeatLease.String(),
		"--contact", l.Limit.String(), "--sweep", "250ms", "--ready-file", l.ClientConfig(),
	}, more...)
}

// StartController starts the controller, or those of several that do not live, and
// returns once one serves.
func (l *Lab) StartController(ctx context.Context) error {
	if l.Controllers > 1 {
		return l.startControllers(ctx)
	}
	if err := os.Remove(l.ClientConfig()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if _, err := l.Start(nodeController, l.controllerArgs("controller")...); err != nil {
		return err
	}
	return l.awaitController(ctx)
}

// awaitController waits until a controller has said that it serves.
func (l *Lab) awaitController(ctx context.Context) error {
	begun := time.Now()
	err := poll(ctx, func() (bool, error) {
		if _, err := l.lives(nodeController, isController); err != nil && time.Since(begun) > 2*time.Second {
			return true, fmt.Errorf("controller: %w", err)
		}
		_, err := os.Stat(l.ClientConfig())
		return err == nil, err
	})
	if _, gone := l.lives(nodeController, isController); err == nil && gone != nil {
		err = fmt.Errorf("controller: %w", gone)
	}
	if err != nil {
		return fmt.Errorf("start the controller: %w%s", err, l.complaint(nodeController))
	}
	return nil
}

// KillController kills the controller and returns once it is gone.
func (l *Lab) KillController(ctx context.Context) error {
	_, err := killSome(ctx, l.namespace(nodeController), isController)
	return err
}

// controllers names those of a lab with several. Each has a member of the store beside
// it, as on a machine of its own; they share the address on which the active one serves.
func (l *Lab) controllers() []string {
	var out []string
	for i := range l.Controllers {
		out = append(out, fmt.Sprintf("c%d", i+1))
	}
	return out
}

// memberURLs are where the member beside a controller serves.
func memberURLs(i int) (clients, peers string) {
	return fmt.Sprintf("http://127.0.0.1:%d", 2379+10*i), fmt.Sprintf("http://127.0.0.1:%d", 2380+10*i)
}

func ofController(name string) func(process) bool {
	return func(p process) bool { return isController(p) && p.Is("--name", name) }
}

func ofMember(name string) func(process) bool {
	return func(p process) bool { return p.Is("lab", "member", "--member", name) }
}

// startControllers starts what does not live of the members and the controllers. One
// that finds another acting waits, and takes its place when it is gone.
func (l *Lab) startControllers(ctx context.Context) error {
	var cluster, endpoints []string
	for i, name := range l.controllers() {
		clients, peers := memberURLs(i)
		cluster, endpoints = append(cluster, name+"="+peers), append(endpoints, clients)
	}
	for i, name := range l.controllers() {
		if _, err := l.lives(nodeController, ofMember(name)); err == nil {
			continue
		}
		clients, peers := memberURLs(i)
		if err := os.MkdirAll(l.path(name, "member"), 0o700); err != nil {
			return err
		}
		if _, err := l.Start(nodeController, l.Exe, "lab", "member", "--member", name, "--dir", l.path(name, "member"),
			"--client", clients, "--peer", peers, "--cluster", strings.Join(cluster, ",")); err != nil {
			return err
		}
	}
	if err := poll(ctx, func() (bool, error) { return l.storeAnswers(ctx) }); err != nil {
		return fmt.Errorf("start the store: %w%s", err, l.complaint(nodeController))
	}
	if _, err := l.lives(nodeController, isController); err != nil {
		if err := os.Remove(l.ClientConfig()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	for i, name := range l.controllers() {
		if _, err := l.lives(nodeController, ofController(name)); err == nil {
			continue
		}
		if i > 0 {
			// They act for the same people.
			if err := copyToken(l.path("c1"), l.path(name)); err != nil {
				return err
			}
		}
		if _, err := l.Start(nodeController, l.controllerArgs(name, "--lease", "3s", "--etcd-endpoints", strings.Join(endpoints, ","))...); err != nil {
			return err
		}
		if err := l.awaitController(ctx); err != nil {
			return err
		}
	}
	return nil
}

// storeAnswers reports whether each member says that the cluster has a leader: a
// controller that finds none ends.
func (l *Lab) storeAnswers(ctx context.Context) (bool, error) {
	for i, name := range l.controllers() {
		clients, _ := memberURLs(i)
		var said string
		err := within(l.namespace(nodeController), func() error {
			var d net.Dialer
			c, err := d.DialContext(ctx, "tcp4", strings.TrimPrefix(clients, "http://"))
			if err != nil {
				return err
			}
			defer func() { _ = c.Close() }()
			_ = c.SetDeadline(time.Now().Add(time.Second))
			if _, err := io.WriteString(c, "GET /health HTTP/1.0\r\n\r\n"); err != nil {
				return err
			}
			text, err := io.ReadAll(c)
			said = string(text)
			return err
		})
		if err != nil || !strings.Contains(said, `"health":"true"`) {
			return false, errors.Join(err, fmt.Errorf("member %s: %s", name, said))
		}
	}
	return true, nil
}

// copyToken gives a controller the administrator of another one.
func copyToken(from, to string) error {
	const file = "people/admin.token"
	data, err := os.ReadFile(filepath.Join(from, file))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(to, "people"), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, file), data, 0o600)
}

// Active names the controller that acts: the one that said last that it serves.
func (l *Lab) Active() (string, error) {
	f, err := client.ReadFile(l.ClientConfig())
	if err != nil {
		return "", err
	}
	name := filepath.Base(filepath.Dir(f.Contexts[f.Current].CA))
	if _, err := l.lives(nodeController, ofController(name)); err != nil {
		return "", fmt.Errorf("controller %s: %w", name, err)
	}
	return name, nil
}

// KillActive ends the controller that acts and the member of the store beside it, as
// the loss of their machine would, and names it.
func (l *Lab) KillActive(ctx context.Context) (string, error) {
	name, err := l.Active()
	if err != nil {
		return "", err
	}
	n, err := killSome(ctx, l.namespace(nodeController), func(p process) bool { return ofController(name)(p) || ofMember(name)(p) })
	if err == nil && n != 2 {
		err = fmt.Errorf("%d processes of %s were killed, want the controller and its member", n, name)
	}
	return name, err
}
