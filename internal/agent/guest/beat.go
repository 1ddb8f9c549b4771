package guest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// PortName is the name of the virtio-serial port that joins guest and host.
const PortName = "org.relight.guest"

// MaxLine bounds a line on the port, in bytes with its end.
const MaxLine = 512

// ErrMalformed refuses a line that is no beat or no order.
var ErrMalformed = errors.New("not a line of a guest")

const beatPrefix = "relight-guest 1 "

// State is how the guest's application stands.
type State string

// The states.
const (
	// Starting: it has not done any I/O yet.
	Starting State = "starting"
	// Works: it does I/O. That it still does so only a rising progress shows.
	Works State = "works"
	// Fails: it cannot work; the reason follows.
	Fails State = "fails"
	// Standby: a warm guest waits to be told who it is.
	Standby State = "standby"
)

// Beat is one line from a guest to its host.
type Beat struct {
	// Server and Epoch are who the guest was told to be, empty and 0 on standby.
	// A beat that names another epoch than the machine's own is no sign of life.
	Server string
	Epoch  uint64
	// Seq counts the beats since the guest started.
	Seq uint64
	// Progress rises with each write or read that the guest's data volume has
	// completed. One that beats on with the same progress has lost its storage.
	Progress uint64
	State    State
	Detail   string
}

// Line is the beat on the wire.
func (b Beat) Line() string {
	server := b.Server
	if server == "" {
		server = "-"
	}
	return oneLine(fmt.Sprintf("%s%s %d %d %d %s %s", beatPrefix, server, b.Epoch, b.Seq, b.Progress, b.State, b.Detail))
}

// oneLine makes of a text what fits on the wire.
func oneLine(line string) string {
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, line)
	return line[:min(len(line), MaxLine-1)] + "\n"
}

// ParseBeat reads a line with or without its end. Errors: ErrMalformed.
func ParseBeat(line string) (Beat, error) {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), beatPrefix)
	f := strings.SplitN(rest, " ", 6)
	if !ok || len(f) < 5 || f[0] == "" {
		return Beat{}, ErrMalformed
	}
	b := Beat{Server: f[0], State: State(f[4])}
	if b.Server == "-" {
		b.Server = ""
	}
	for i, into := range []*uint64{&b.Epoch, &b.Seq, &b.Progress} {
		n, err := strconv.ParseUint(f[1+i], 10, 64)
		if err != nil {
			return Beat{}, ErrMalformed
		}
		*into = n
	}
	switch b.State {
	case Starting, Works, Fails, Standby:
	default:
		return Beat{}, ErrMalformed
	}
	if len(f) > 5 {
		b.Detail = f[5]
	}
	return b, nil
}

// Order is one line from a host to its guest.
type Order struct {
	Kind OrderKind
	// Server and Epoch are for Become.
	Server string
	Epoch  uint64
	// ID and Hold are for Quiesce: what the answer names, and for how long the guest
	// holds still at most.
	ID   uint64
	Hold time.Duration
}

// OrderKind says what the guest is to do.
type OrderKind string

// The orders. Panic, Hang, Exit and Mute are faults for tests and drills; a guest obeys
// them only if its command line allows it.
const (
	// Become tells a guest on standby who it is; its LUNs have been plugged in.
	Become OrderKind = "become"
	// Quiesce has it flush what it holds and write nothing more, and answer with a
	// Reply; Thaw has it go on.
	Quiesce  OrderKind = "quiesce"
	Thaw     OrderKind = "thaw"
	PowerOff OrderKind = "poweroff"
	Panic    OrderKind = "panic"
	Hang     OrderKind = "hang"
	Exit     OrderKind = "exit" // the application ends, the guest beats on
	Mute     OrderKind = "mute" // the beats end, the application goes on
)

// Line is the order on the wire.
func (o Order) Line() string {
	switch o.Kind {
	case Become:
		return fmt.Sprintf("%s %s %d\n", o.Kind, o.Server, o.Epoch)
	case Quiesce:
		return fmt.Sprintf("%s %d %d\n", o.Kind, o.ID, o.Hold.Milliseconds())
	}
	return string(o.Kind) + "\n"
}

// ParseOrder reads a line with or without its end. Errors: ErrMalformed.
func ParseOrder(line string) (Order, error) {
	f := strings.Split(strings.TrimSuffix(line, "\n"), " ")
	o := Order{Kind: OrderKind(f[0])}
	switch o.Kind {
	case PowerOff, Thaw, Panic, Hang, Exit, Mute:
		if len(f) == 1 {
			return o, nil
		}
	case Quiesce:
		if len(f) != 3 {
			return Order{}, ErrMalformed
		}
		id, err := strconv.ParseUint(f[1], 10, 64)
		ms, bad := strconv.ParseUint(f[2], 10, 32)
		if err == nil && bad == nil && ms > 0 {
			o.ID, o.Hold = id, time.Duration(ms)*time.Millisecond
			return o, nil
		}
	case Become:
		if len(f) != 3 || f[1] == "" {
			return Order{}, ErrMalformed
		}
		n, err := strconv.ParseUint(f[2], 10, 64)
		if err == nil && n > 0 {
			o.Server, o.Epoch = f[1], n
			return o, nil
		}
	}
	return Order{}, ErrMalformed
}
