// Package app carries the heartbeats of applications inside a guest to its agent:
// datagrams on a local unix socket, one line of text each, so that a shell script
// can send them too.
package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// SocketEnv is the environment variable in which the agent hands its socket's path
// to the applications that it starts.
const SocketEnv = "RELIGHT_BEAT_SOCKET"

// prefix starts each line; the number is the version.
const prefix = "relight-beat 1 "

// maxLine bounds what is read of a datagram.
const maxLine = 64

// ErrMalformed refuses a datagram that is no heartbeat.
var ErrMalformed = errors.New("not a heartbeat")

// ErrNoSocket says that no path was given, so nobody listens.
var ErrNoSocket = errors.New(SocketEnv + " is not set")

// Beat tells the agent that the application lives. progress rises while it makes
// progress; an application that has no such number sends a count of its beats.
func Beat(ctx context.Context, path string, progress uint64) error {
	if path == "" {
		return ErrNoSocket
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unixgram", path)
	if err != nil {
		return fmt.Errorf("beat socket %s: %w", path, err)
	}
	defer c.Close()
	if t, ok := ctx.Deadline(); ok {
		_ = c.SetWriteDeadline(t)
	}
	if _, err := c.Write(encode(progress)); err != nil {
		return fmt.Errorf("beat socket %s: %w", path, err)
	}
	return nil
}

// Listener is the agent's side.
type Listener struct {
	conn *net.UnixConn
	path string
}

// Listen makes the socket, in place of one that an earlier agent left. Its mode
// lets every local user beat; a directory with a tighter mode restricts that.
func Listen(path string) (*Listener, error) {
	if fi, err := os.Lstat(path); err == nil && fi.Mode().Type() == os.ModeSocket {
		_ = os.Remove(path)
	}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("beat socket %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o666); err != nil { //nolint:gosec // G302: applications run as other users
		return nil, errors.Join(fmt.Errorf("beat socket %s: %w", path, err), c.Close())
	}
	return &Listener{conn: c, path: path}, nil
}

// Run calls beat with each progress that comes, until ctx ends, and removes the
// socket. Datagrams that are no heartbeats are passed over.
func (l *Listener) Run(ctx context.Context, beat func(progress uint64)) error {
	defer func() {
		_ = l.conn.Close()
		_ = os.Remove(l.path)
	}()
	stop := context.AfterFunc(ctx, func() { _ = l.conn.Close() })
	defer stop()
	buf := make([]byte, maxLine)
	for {
		n, err := l.conn.Read(buf)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("beat socket %s: %w", l.path, err)
		}
		if p, err := decode(buf[:n]); err == nil {
			beat(p)
		}
	}
}

func encode(progress uint64) []byte {
	return append(strconv.AppendUint([]byte(prefix), progress, 10), '\n')
}

// decode reads a line, with or without its end.
func decode(b []byte) (uint64, error) {
	s, ok := strings.CutPrefix(strings.TrimSuffix(string(b), "\n"), prefix)
	if !ok {
		return 0, ErrMalformed
	}
	p, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, ErrMalformed
	}
	return p, nil
}
