package qemu

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// Errors of a Monitor.
var (
	// ErrNoMonitor: nobody answers at the socket; the machine may run all the same.
	ErrNoMonitor = errors.New("the machine's monitor does not answer")
	// ErrGarbage: what came is not the machine protocol.
	ErrGarbage = errors.New("the monitor's words are not understood")
)

// Refusal is what QEMU said no to.
type Refusal struct {
	Command string
	Class   string `json:"class"`
	Desc    string `json:"desc"`
}

// Error implements error.
func (r *Refusal) Error() string { return fmt.Sprintf("%s: QEMU refuses: %s", r.Command, r.Desc) }

// Event is something that a machine tells unasked, such as "STOP" or
// "GUEST_PANICKED".
type Event struct {
	Name string
	Data json.RawMessage
}

// WatchdogFired is the event of a machine whose guest did not feed its watchdog; QEMU has
// reset it.
const WatchdogFired = "WATCHDOG"

const (
	// maxMessage bounds one message in bytes; the longest real ones have some ten
	// thousand.
	maxMessage = 1 << 20
	// answerWithin bounds a command whose caller sets no bound: one that waits for
	// stuck I/O is never answered.
	answerWithin = 5 * time.Second
)

// Monitor is a connection to a machine's QMP socket. QEMU talks to one at a time:
// a second one waits until the first is closed. It is safe for concurrent use.
type Monitor struct {
	conn   net.Conn
	events func(Event)
	done   chan struct{}

	mu      sync.Mutex
	next    uint64
	waiting map[string]chan message
	err     error
}

// message is everything that QEMU may say.
type message struct {
	QMP    json.RawMessage `json:"QMP"`
	Return json.RawMessage `json:"return"`
	Error  *Refusal        `json:"error"`
	Event  string          `json:"event"`
	Data   json.RawMessage `json:"data"`
	ID     string          `json:"id"`
}

// DialIn connects to a socket in a directory, whose name may be too long for a
// socket's address.
func DialIn(ctx context.Context, dir, name string) (net.Conn, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	var dialer net.Dialer
	return dialer.DialContext(ctx, "unix", filepath.Join("/proc/self/fd", strconv.Itoa(int(d.Fd())), name))
}

// Dial opens the monitor of the machine in the instance directory dir. events is
// called for each event, one after the other, and must not block; it may be nil.
// Errors: ErrNoMonitor, ErrGarbage.
func Dial(ctx context.Context, dir string, events func(Event)) (*Monitor, error) {
	c, err := DialIn(ctx, dir, MonitorSocket)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoMonitor, err)
	}
	return Talk(ctx, c, events)
}

// Talk does what Dial does on a connection that is open, and closes it on errors.
func Talk(ctx context.Context, c net.Conn, events func(Event)) (*Monitor, error) {
	if events == nil {
		events = func(Event) {}
	}
	m := &Monitor{conn: c, events: events, done: make(chan struct{}), waiting: map[string]chan message{}}
	greeted := make(chan error, 1)
	go m.read(greeted)
	ctx, cancel := bound(ctx)
	defer cancel()
	select {
	case err := <-greeted:
		if err == nil {
			err = m.Do(ctx, "qmp_capabilities", nil, nil)
		}
		if err != nil {
			m.Close()
			return nil, err
		}
		return m, nil
	case <-ctx.Done():
		m.Close()
		return nil, fmt.Errorf("%w: no greeting: %w", ErrNoMonitor, ctx.Err())
	}
}

func bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, answerWithin)
}

// Done is closed when the connection has ended: with the machine's process, if
// nobody has closed it.
func (m *Monitor) Done() <-chan struct{} { return m.done }

// Close ends the connection, not the machine.
func (m *Monitor) Close() {
	_ = m.conn.Close()
	<-m.done
}

// read takes what QEMU says until the connection ends.
func (m *Monitor) read(greeted chan<- error) {
	defer close(m.done)
	s := bufio.NewScanner(m.conn)
	s.Buffer(make([]byte, 4096), maxMessage)
	err := fmt.Errorf("%w: it has hung up", ErrNoMonitor)
	for hello := true; s.Scan(); {
		if len(bytes.TrimSpace(s.Bytes())) == 0 {
			continue
		}
		var msg message
		if json.Unmarshal(s.Bytes(), &msg) != nil || hello && msg.QMP == nil {
			err = fmt.Errorf("%w: %.60q", ErrGarbage, s.Bytes())
			break
		}
		if hello {
			hello = false
			greeted <- nil
			continue
		}
		m.take(msg)
	}
	if s.Err() != nil && !errors.Is(s.Err(), net.ErrClosed) {
		err = fmt.Errorf("%w: %w", ErrNoMonitor, s.Err())
	}
	_ = m.conn.Close()
	m.mu.Lock()
	m.err = err
	m.mu.Unlock()
	select {
	case greeted <- err:
	default:
	}
}

// take gives an answer to who waits for it; late answers are dropped.
func (m *Monitor) take(msg message) {
	if msg.Event != "" {
		m.events(Event{Name: msg.Event, Data: bytes.Clone(msg.Data)})
		return
	}
	m.mu.Lock()
	c := m.waiting[msg.ID]
	delete(m.waiting, msg.ID)
	m.mu.Unlock()
	if c != nil {
		msg.Return = bytes.Clone(msg.Return)
		c <- msg
	}
}

// Do carries out one command. args and into may be nil. Errors: *Refusal,
// ErrNoMonitor, ErrGarbage, ctx's. After ctx's the command may still take effect.
func (m *Monitor) Do(ctx context.Context, command string, args, into any) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	m.mu.Lock()
	m.next++
	id := strconv.FormatUint(m.next, 10)
	c := make(chan message, 1)
	m.waiting[id] = c
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.waiting, id)
	}()
	request := map[string]any{"execute": command, "id": id}
	if args != nil {
		request["arguments"] = args
	}
	data, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	if err := m.write(ctx, append(data, '\n')); err != nil {
		return fmt.Errorf("%s: %w: %w", command, ErrNoMonitor, err)
	}
	select {
	case msg := <-c:
		return msg.result(command, into)
	case <-m.done:
		m.mu.Lock()
		defer m.mu.Unlock()
		return fmt.Errorf("%s: %w", command, m.err)
	case <-ctx.Done():
		return fmt.Errorf("%s: no answer: %w", command, ctx.Err())
	}
}

func (m *Monitor) write(ctx context.Context, b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, _ := ctx.Deadline()
	_ = m.conn.SetWriteDeadline(t)
	_, err := m.conn.Write(b)
	return err
}

func (msg message) result(command string, into any) error {
	if msg.Error != nil {
		msg.Error.Command = command
		return msg.Error
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(msg.Return, into); err != nil {
		return fmt.Errorf("%s: %w: %w", command, ErrGarbage, err)
	}
	return nil
}
