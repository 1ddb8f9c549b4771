package beatbench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// The roles of child processes.
const (
	roleSealed    = "sealed"    // the real receiver
	roleBare      = "bare"      // reads and discards
	roleEcho      = "echo"      // reads and answers without looking
	roleGenerator = "generator" // sends beats
	roleMemory    = "memory"    // fills a table
)

// roleEnv tells a child its role.
const roleEnv = "RELIGHT_BEATBENCH_ROLE"

// job is what a child is told on its first line.
type job struct {
	Seed   string
	Agents int
	Addr   string
	Rate   int
	Length time.Duration
	// Greet says that the receiver answers, so its session must be asked for.
	Greet bool
}

type (
	// listening is a receiver's first line.
	listening struct{ Addr string }
	// received is a receiver's reply to each question.
	received struct {
		Taken    uint64
		CPU      time.Duration
		User     time.Duration // the part of CPU outside the kernel
		P50, P99 float64
	}
	// generated is the generator's reply when it is done.
	generated struct {
		Sent, Acked uint64
		Took        time.Duration
	}
	// heap is the memory role's only line.
	heap struct{ Bytes, State int64 }
)

// Child runs a child's role and reports true if this process is a child of Run;
// then main must return at once.
func Child() bool {
	role := os.Getenv(roleEnv)
	if role == "" {
		return false
	}
	p := &pipe{in: bufio.NewReader(os.Stdin), out: os.Stdout}
	if err := play(role, p); err != nil {
		fmt.Fprintln(os.Stderr, "beat bench", role+":", err)
		os.Exit(1)
	}
	return true
}

func play(role string, p *pipe) error {
	var j job
	if err := p.read(&j); err != nil {
		return err
	}
	switch role {
	case roleSealed:
		return serveSealed(p, j)
	case roleBare, roleEcho:
		return serveBare(p, role == roleEcho)
	case roleGenerator:
		return generate(p, j)
	case roleMemory:
		return measureHeap(p, j)
	}
	return fmt.Errorf("no role %q", role)
}

// pipe carries one JSON value a line. A child ends when its parent closes it.
type pipe struct {
	in  *bufio.Reader
	out io.Writer
}

func (p *pipe) read(v any) error {
	line, err := p.in.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

func (p *pipe) write(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = p.out.Write(append(b, '\n'))
	return err
}

// ask asks for one more line.
func (p *pipe) ask(v any) error {
	if err := p.write(struct{}{}); err != nil {
		return err
	}
	return p.read(v)
}

// child is a process that plays a role.
type child struct {
	pipe
	cmd  *exec.Cmd
	role string
	in   io.Closer
}

func start(ctx context.Context, role string, j job) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	c := &child{pipe: pipe{in: bufio.NewReader(out), out: in}, cmd: cmd, role: role, in: in}
	if err := c.write(j); err != nil {
		return nil, c.stop(err)
	}
	return c, nil
}

// stop ends the child and joins its error to what went wrong before.
func (c *child) stop(before error) error {
	_ = c.in.Close()
	if err := c.cmd.Wait(); err != nil {
		return errors.Join(before, fmt.Errorf("%s: %w", c.role, err))
	}
	return before
}
