// Login is the init of a guest on EC2 as far as its volumes go: Debian's kernel, its
// open-iscsi, and the mount code of the guest agent. It dials the test, and does what that
// asks, one order at a time.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"relight/internal/agent/guest"
	"relight/internal/agent/mount"
	"relight/internal/core/fleet"
)

// order is what the test asks for: one of its fields.
type order struct {
	// Advance takes the volume of an epoch as far as it goes, with these logins.
	Advance *advance
	// Write writes a file and syncs it.
	Write *write
	// Pour begins to append numbered lines to a file, and syncs each; Poured waits until
	// that many are synced, or one has failed, and puts out how many are.
	Pour   string
	Poured int
	// Run runs a program.
	Run []string
}

type advance struct {
	Epoch  fleet.Epoch
	Volume fleet.Volume
	LUN    mount.LUN
}

type write struct{ Path, Data string }

// answer is what came of it.
type answer struct {
	State  mount.State
	Output string
	Code   int
	Err    string
	// Took is in milliseconds.
	Took int64
}

func main() {
	poured.more = sync.NewCond(&poured.mu)
	if err := run(); err != nil {
		say("%v", err)
	}
	select {} // an init that ends is a panic
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "login: "+format+"\n", args...) }

func run() error {
	if err := boot(); err != nil {
		return err
	}
	host := os.Getenv("LOGIN_HOST")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		return err
	}
	say("ready for %s", host)
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	volumes := map[fleet.Epoch]*mount.Volumes{}
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			return err
		}
		began := time.Now()
		a := o.do(volumes)
		a.Took = time.Since(began).Milliseconds()
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

func boot() error {
	if err := guest.Boot(); err != nil {
		say("%v", err) // some CPUs have no use for some modules
	}
	if err := os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"); err != nil {
		return err
	}
	// The kernel hands init what it does not know of its command line.
	for _, args := range []string{"link set lo up", "addr add " + os.Getenv("LOGIN_IP") + " dev eth0", "link set eth0 up"} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", args, err, out)
		}
	}
	d := exec.Command("iscsid", "-f")
	d.Stderr, d.SysProcAttr = os.Stderr, &syscall.SysProcAttr{Setsid: true}
	return d.Start()
}

func (o order) do(volumes map[fleet.Epoch]*mount.Volumes) answer {
	switch {
	case o.Advance != nil:
		v := volumes[o.Advance.Epoch]
		if v == nil {
			v = mount.New(mount.ThisMachine(), o.Advance.Epoch, []fleet.Volume{o.Advance.Volume})
			volumes[o.Advance.Epoch] = v
		}
		lun := o.Advance.LUN
		v.Logins = func(context.Context) (map[string]mount.LUN, error) {
			return map[string]mount.LUN{o.Advance.Volume.Name: lun}, nil
		}
		return answer{State: v.Advance(context.Background())[0]}
	case o.Write != nil:
		return answer{Err: text(o.Write.do())}
	case o.Pour != "":
		go pour(o.Pour)
		return answer{}
	case o.Poured > 0:
		poured.mu.Lock()
		defer poured.mu.Unlock()
		for poured.lines < o.Poured && poured.err == nil {
			poured.more.Wait()
		}
		return answer{Output: strconv.Itoa(poured.lines), Err: text(poured.err)}
	default:
		out, code, err := mount.ThisMachine().Run(context.Background(), o.Run...)
		return answer{Output: out, Code: code, Err: text(err)}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (w *write) do() error {
	f, err := os.OpenFile(w.Path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(w.Data)
	return errors.Join(err, f.Sync(), f.Close())
}

// poured is how far pour has come.
var poured struct {
	mu    sync.Mutex
	more  *sync.Cond
	lines int
	err   error
}

func pour(path string) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	for n := 1; err == nil; n++ {
		if _, err = fmt.Fprintln(f, n); err == nil {
			err = f.Sync()
		}
		poured.mu.Lock()
		if poured.err = err; err == nil {
			poured.lines = n
		}
		poured.more.Broadcast()
		poured.mu.Unlock()
	}
}
