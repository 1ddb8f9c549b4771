// Package app is the demo's application: a server with state, as simple as one
// can be. It knows no epochs and takes no locks. Like any database that believes
// itself alone, it looks for the end of its log once, at its start, and from then
// on trusts its own count. Two of them on one log destroy each other's records,
// and nothing in here would stop that: whatever keeps the log whole is Relight.
package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// TickEvery is the time between two records that the application writes by
// itself, so that a writer whom no client reaches shows in the log, too.
const TickEvery = 10 * time.Millisecond

// Options are what the application is started with.
type Options struct {
	// Listen is its address, IP:PORT; Dir the volume.
	Listen, Dir string
}

// log is the application's state.
type log struct {
	writer string
	failed atomic.Bool

	mu   sync.Mutex
	file *os.File
	next int64 // offset of the next record
	seq  uint64
}

// Run serves until ctx ends. It returns what it could not open.
func Run(ctx context.Context, o Options) error {
	l, err := open(o.Dir, time.Now())
	if err != nil {
		return err
	}
	defer func() { _ = l.file.Close() }()
	// Two machines on a real network can both believe that they have an address.
	// On one kernel the second would get an error instead, which would hide a
	// missing fence; so both may listen here.
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		return errors.Join(err, set)
	}}
	listener, err := lc.Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("demo application: %w", err)
	}
	server := &http.Server{Handler: l.handler(), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	go l.tick(ctx)
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("demo application: %w", err)
	}
	return nil
}

// open opens the log and finds its end: the last whole record.
func open(dir string, now time.Time) (*log, error) {
	writer, err := NewWriter(now)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, LogName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("demo application: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &log{writer: writer, file: file, next: info.Size() / RecordSize * RecordSize}, nil
}

// put writes one record. The sync is outside of the lock: those who wait for the
// disk at once share its flush.
func (l *log) put(kind Kind, id uint64) error {
	l.mu.Lock()
	l.seq++
	r := Record{Kind: kind, ID: id, Writer: l.writer, Seq: l.seq}
	_, err := l.file.WriteAt(r.Encode(), l.next)
	if err == nil {
		l.next += RecordSize
	} else {
		l.seq--
	}
	l.mu.Unlock()
	if err != nil || kind == Tick {
		return err
	}
	return l.file.Sync()
}

func (l *log) tick(ctx context.Context) {
	every := time.NewTicker(TickEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			_ = l.put(Tick, 0) // a full disk shows at the next write
		}
	}
}

func (l *log) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /write", l.write)
	mux.HandleFunc("GET /health", l.reply(func() string { return "ok" }))
	mux.HandleFunc("GET /whoami", l.reply(func() string { return strconv.Itoa(os.Getpid()) }))
	mux.HandleFunc("POST /fail", func(w http.ResponseWriter, _ *http.Request) {
		l.failed.Store(true)
		fmt.Fprintln(w, "from now on every answer is 500")
	})
	return mux
}

func (l *log) reply(text func() string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if l.failed.Load() {
			http.Error(w, "told to fail", http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, text())
	}
}

func (l *log) write(w http.ResponseWriter, r *http.Request) {
	if l.failed.Load() {
		http.Error(w, "told to fail", http.StatusInternalServerError)
		return
	}
	id, err := strconv.ParseUint(r.FormValue("id"), 10, 64)
	if err != nil || id == 0 {
		http.Error(w, "id must be a number above 0", http.StatusBadRequest)
		return
	}
	if err := l.put(Write, id); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(w, "written")
}
