package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/lab/check"
)

// ErrNoDrill means that the lab cannot do what a drill asks for.
var ErrNoDrill = errors.New("the lab cannot do this")

// Drill is the program that relight drill calls to break a lab's server: break and mend
// a DRILL on a SERVER of a HOST, write SERVER ID, and check SERVER.
func (l *Lab) Drill(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	switch {
	case len(args) == 4 && args[0] == "break" && args[2] == Server:
		return l.drillBreak(ctx, fleet.DrillName(args[1]), args[3])
	case len(args) == 4 && args[0] == "mend" && args[2] == Server:
		return l.drillMend(ctx, fleet.DrillName(args[1]), args[3])
	case len(args) == 3 && args[0] == "write" && args[1] == Server:
		return l.drillWrite(ctx, args[2])
	case len(args) == 2 && args[0] == "check" && args[1] == Server:
		return l.drillCheck(in, out)
	default:
		return fmt.Errorf("%w: %s; its server is %s", ErrNoDrill, strings.Join(args, " "), Server)
	}
}

func (l *Lab) drillBreak(ctx context.Context, name fleet.DrillName, host string) error {
	switch name {
	case fleet.DrillAppKill, fleet.DrillData:
		return l.order(ctx, "exit")
	case fleet.DrillHang:
		return l.HangVMs(ctx, host)
	case fleet.DrillHostLoss:
		return l.PowerOff(ctx, host)
	default:
		return fmt.Errorf("%w: %s", ErrNoDrill, name)
	}
}

// drillMend switches a lost host on again; what else is broken is healed.
func (l *Lab) drillMend(ctx context.Context, name fleet.DrillName, host string) error {
	if name != fleet.DrillHostLoss {
		return nil
	}
	return l.PowerOn(ctx, host)
}

// written is a write of a drill: the newest record that was durable when it was asked
// for.
type written struct {
	id    string
	epoch uint64
	seq   uint64
}

// drillWrite waits until the server says that a record is durable which was not when it
// was asked, and notes it under the drill's id: the guest writes all the time, and
// numbers its records itself.
func (l *Lab) drillWrite(ctx context.Context, id string) error {
	before, err := l.newest(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, writeWithin)
	defer cancel()
	var now written
	err = poll(ctx, func() (bool, error) {
		if now, err = l.newest(ctx); err != nil {
			return false, err
		}
		return now.seq > before.seq || now.epoch > before.epoch, fmt.Errorf("epoch %d writes nothing after record %d", now.epoch, now.seq)
	})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(l.path(drillFile), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, id, now.epoch, now.seq)
	return errors.Join(err, f.Close())
}

// writeWithin bounds the wait for one record: a drill gives a write two seconds.
const writeWithin = 1500 * time.Millisecond

// drillFile holds what was acknowledged to drills.
const drillFile = "drill-writes"

// newest asks the server which epoch it is and which record is its newest durable one.
func (l *Lab) newest(ctx context.Context) (written, error) {
	said, err := l.Tell(ctx, l.address(), "who")
	if err != nil {
		return written{}, err
	}
	var w written
	var name, state string
	if _, err := fmt.Sscanf(said, "%s %d %d %s", &name, &w.epoch, &w.seq, &state); err != nil || name != Server {
		return written{}, fmt.Errorf("%s answers %q", l.address(), said)
	}
	if w.seq == 0 {
		return written{}, fmt.Errorf("epoch %d of %s has written nothing yet", w.epoch, Server)
	}
	return w, nil
}

// drillCheck holds the file behind the LUN against the ids that were acknowledged.
func (l *Lab) drillCheck(in io.Reader, out io.Writer) error {
	known, err := l.drillWrites()
	if err != nil {
		return err
	}
	var acked []check.Ack
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		w, ok := known[strings.TrimSpace(lines.Text())]
		if !ok {
			return fmt.Errorf("write %q is not in %s", lines.Text(), l.path(drillFile))
		}
		acked = append(acked, check.Ack{Epoch: w.epoch, Seq: w.seq})
	}
	if err := lines.Err(); err != nil {
		return err
	}
	lost, turns, err := check.Held(l.LUNFile(Server+"-"+volume), acked)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(map[string]int{"lost": lost, "twoWriters": turns})
}

func (l *Lab) drillWrites() (map[string]written, error) {
	f, err := os.Open(l.path(drillFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	out := map[string]written{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		part := strings.Fields(lines.Text())
		if len(part) != 3 {
			continue // one that was cut off was acknowledged to nobody
		}
		w := written{id: part[0]}
		if w.epoch, err = strconv.ParseUint(part[1], 10, 64); err != nil {
			return nil, err
		}
		if w.seq, err = strconv.ParseUint(part[2], 10, 64); err != nil {
			return nil, err
		}
		out[w.id] = w
	}
	return out, lines.Err()
}
