package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// listenFD is the descriptor of the listening socket that the agent hands over.
	listenFD = 3
	// LogCap is the size in bytes at which app.log, and a machine's console, start
	// anew.
	LogCap = 16 << 20
	// logEvery is how often the size is looked at.
	logEvery = 10 * time.Second
)

// ErrUsed means that a keeper has worked in the instance directory before.
// Nothing may go on there: it needs a new epoch.
var ErrUsed = errors.New("instance directory was used before")

// Main is the whole keeper process for the instance directory dir, as Start
// starts it, with the listening socket as descriptor 3. It returns when the
// instance is retired. The end of ctx, SIGTERM, SIGINT and SIGHUP end it only
// while nothing runs: no signal that is meant for an agent may cost a server.
func Main(ctx context.Context, dir string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	// Notified rather than ignored: the application would inherit the latter.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	defer signal.Stop(signals)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	// Nothing but what start hands down may reach the application.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("keep descriptors back: %w", err)
	}
	f := os.NewFile(listenFD, socketName)
	l, err := net.FileListener(f)
	if err != nil {
		return fmt.Errorf("descriptor %d is not a listening socket; keepers are started by an agent: %w", listenFD, err)
	}
	_ = f.Close()
	defer func() { _ = l.Close() }()
	c, err := ReadConfig(dir)
	if err != nil {
		return fmt.Errorf("keeper: %w", err)
	}
	if _, err := ReadState(dir); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("keeper %s.%d: %w", c.Server, c.Epoch, errors.Join(ErrUsed, err))
	}
	k, err := newKeeper(dir, c, log.With("server", c.Server, "epoch", c.Epoch))
	if err != nil {
		return fmt.Errorf("keeper %s.%d: %w", c.Server, c.Epoch, err)
	}
	k.run(ctx, l, signals)
	return nil
}

// run serves until the keeper is retired, or told to end while nothing runs.
func (k *keeper) run(ctx context.Context, l net.Listener, signals <-chan os.Signal) {
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := make(chan struct{})
	defer close(stop)
	defer func() { _ = l.Close() }()
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go k.serve(c)
		}
	})
	tick := time.NewTicker(logEvery)
	defer tick.Stop()
	ended := ctx.Done()
	for {
		select {
		case <-k.done:
			return
		case <-ended:
			ended = nil // closed for good
			if k.idle() {
				return
			}
		case s := <-signals:
			k.log.Info("signal", "signal", s)
			if k.idle() {
				return
			}
		case <-tick.C:
			if err := CapLog(filepath.Join(k.dir, appLogName), LogCap); err != nil {
				k.log.Error("log", "err", err)
			}
		}
	}
}

// idle reports whether no process can be left. If so it ends the instance, so
// that nothing starts between this and the keeper's end.
func (k *keeper) idle() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.st.Phase == Attached {
		k.finish()
	}
	return k.st.Phase == Exited
}

// CapLog moves the content of a log that has grown past limit bytes to path.1.
// Its writers append, so they go on at its new end.
func CapLog(path string, limit int64) error {
	st, err := os.Stat(path)
	if err != nil || st.Size() <= limit {
		if os.IsNotExist(err) {
			return nil
		}
		return err
	}
	from, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	to, err := os.OpenFile(path+".1", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	// The end is what tells why it died; a writer that outruns us adds no bound.
	_, err = io.Copy(to, io.NewSectionReader(from, st.Size()-limit, limit))
	return errors.Join(err, to.Close(), from.Truncate(0))
}
