package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"relight/internal/lab/check"
)

// ackPort is where the client hears which records are durable.
const ackPort = 9000

// ServePort is where a server tells who it is, by UDP: its name, its epoch or another
// number of this very instance, its newest record and its state.
const ServePort = 9001

// within runs do on a thread in another network namespace: a socket stays in the
// one in which it was made, wherever it is used later.
func within(namespace string, do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			// The first thread never ends, and says for the whole process in which namespace
			// it is: this program would be switched off with the host whose network it
			// looked at once. While it is held here, another thread does it.
			defer runtime.UnlockOSThread()
			done <- within(namespace, do)
			return
		}
		// Never unlocked: a thread that was elsewhere ends with its goroutine.
		done <- func() error {
			fd, err := unix.Open(filepath.Join(netns, namespace), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("namespace %s: %w", namespace, err)
			}
			defer func() { _ = unix.Close(fd) }()
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("namespace %s: %w", namespace, err)
			}
			return do()
		}()
	}()
	return <-done
}

// Ears is the lab's client: it remembers which records servers told it to be
// durable.
type Ears struct {
	conn net.PacketConn
	done chan struct{}

	mu    sync.Mutex
	acked map[string][]check.Ack
}

// Listen starts the client in its namespace.
func (l *Lab) Listen(ctx context.Context) (*Ears, error) {
	e := &Ears{done: make(chan struct{}), acked: map[string][]check.Ack{}}
	err := within(l.namespace(nodeClient), func() error {
		var lc net.ListenConfig
		var err error
		e.conn, err = lc.ListenPacket(ctx, "udp4", fmt.Sprintf("%s:%d", l.management(last(nodeClient)), ackPort))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("the client cannot listen: %w", err)
	}
	go e.hear()
	return e, nil
}

func (e *Ears) hear() {
	defer close(e.done)
	buf := make([]byte, 1500)
	for {
		n, _, err := e.conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		var server string
		a := check.Ack{At: time.Now()}
		if err != nil {
			continue
		}
		if _, err := fmt.Sscanf(string(buf[:n]), "ack %s %d %d", &server, &a.Epoch, &a.Seq); err != nil {
			continue
		}
		e.mu.Lock()
		e.acked[server] = append(e.acked[server], a)
		e.mu.Unlock()
	}
}

// Acked lists what was heard of a server.
func (e *Ears) Acked(server string) []check.Ack {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]check.Ack(nil), e.acked[server]...)
}

// Close ends the client.
func (e *Ears) Close() error {
	err := e.conn.Close()
	<-e.done
	return err
}

// Tell says something to a server over the network, and returns who it says that it
// is: its name, its epoch and its newest record. Guests of the lab obey the faults
// "exit", "hang" and "panic".
func (l *Lab) Tell(ctx context.Context, addr, what string) (string, error) {
	var answer string
	err := within(l.namespace(nodeClient), func() error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		var d net.Dialer
		c, err := d.DialContext(ctx, "udp4", net.JoinHostPort(addr, fmt.Sprint(ServePort)))
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		deadline, _ := ctx.Deadline()
		_ = c.SetDeadline(deadline)
		if _, err := c.Write([]byte(what)); err != nil {
			return err
		}
		buf := make([]byte, 512)
		n, err := c.Read(buf)
		answer = string(buf[:n])
		return err
	})
	return answer, err
}
