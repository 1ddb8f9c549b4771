package keeper

import (
	"errors"
	"time"

	"relight/internal/agent/address"
	"relight/internal/agent/keeper/proc"
	"relight/internal/agent/volume"
	"relight/internal/core/fleet"
)

// Errors of a keeper. Those of packages volume and address also pass through it.
var (
	// ErrOldTerm: a controller with a higher term has spoken already.
	ErrOldTerm = errors.New("controller term is old")
	// ErrOtherInstance: the request is for another server or epoch.
	ErrOtherInstance = errors.New("request is for another instance")
	// ErrDifferent: the request repeats an earlier one with another content.
	ErrDifferent = errors.New("request differs from the one before")
	// ErrRunning: a process of the instance is left.
	ErrRunning = errors.New("instance is running")
	// ErrStopped: the instance was stopped or has exited; nothing of it starts
	// again.
	ErrStopped = errors.New("instance is stopped")
	// ErrNotStopped: the instance must be stopped first.
	ErrNotStopped = errors.New("instance is not stopped")
	// ErrLaunch: the application could not be started.
	ErrLaunch = errors.New("application does not start")
	// ErrNoKeeper: no keeper answers for the instance.
	ErrNoKeeper = errors.New("keeper does not answer")
)

// codes are the names of the errors that keep their identity on the wire.
var codes = map[string]error{
	"oldTerm": ErrOldTerm, "otherInstance": ErrOtherInstance,
	"different": ErrDifferent, "running": ErrRunning, "stopped": ErrStopped,
	"notStopped": ErrNotStopped, "launch": ErrLaunch,
	"locked": volume.ErrLocked, "sealed": volume.ErrSealed,
	"oldEpoch": volume.ErrOldEpoch, "otherServer": volume.ErrOtherServer,
	"noRecord": volume.ErrNoRecord,
	"corrupt":  volume.ErrCorrupt, "unreachable": volume.ErrUnreachable,
	"unfit": volume.ErrUnfit, "claimed": address.ErrClaimed,
	"invalid": address.ErrInvalid,
}

// Op names what is asked of a keeper.
type Op string

// The operations. All may be repeated.
const (
	OpAttach Op = "attach" // take a volume's lock
	OpClaim  Op = "claim"  // claim an address
	OpLaunch Op = "launch" // start the application, once
	OpStop   Op = "stop"   // end every process; answers when none is left
	OpDetach Op = "detach" // let go of volumes and addresses; nothing may run
	OpStatus Op = "status" // answer the status
	OpWatch  Op = "watch"  // answer the status now and whenever it changes
	OpRetire Op = "retire" // end the keeper; the instance must be exited
)

// Request is one line to a keeper.
type Request struct {
	Op     Op          `json:"op"`
	Server string      `json:"server"`
	Epoch  fleet.Epoch `json:"epoch"`
	// Term is the term of the controller that asks; status and watch need none.
	Term   fleet.Term `json:"term,omitempty"`
	Volume *Volume    `json:"volume,omitempty"`
	// Fresh: the volume may have no record yet.
	Fresh   bool             `json:"fresh,omitempty"`
	Address *address.Address `json:"address,omitempty"`
	Launch  *Launch          `json:"launch,omitempty"`
	// Grace is the time between SIGTERM and SIGKILL; 0 kills at once.
	Grace time.Duration `json:"grace,omitempty"`
}

// Volume names a directory volume of an instance.
type Volume struct {
	Name string `json:"name"`
	Dir  string `json:"dir"`
}

// Launch tells how to start an application.
type Launch struct {
	Command []string `json:"command"`
	// Env is added to the keeper's own environment.
	Env []string `json:"env,omitempty"`
	// Dir is the working directory; the instance's own if empty.
	Dir string `json:"dir,omitempty"`
	// BeatSocket, if set, is given to the application as RELIGHT_BEAT_SOCKET.
	BeatSocket string `json:"beatSocket,omitempty"`
}

// Response is one line from a keeper: an error or a status.
type Response struct {
	Code   string  `json:"code,omitempty"`
	Error  string  `json:"error,omitempty"`
	Status *Status `json:"status,omitempty"`
}

// remoteError is an error that came over the wire and still is the sentinel.
type remoteError struct {
	text string
	is   error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.is }

func failure(err error) Response {
	r := Response{Error: err.Error()}
	for code, is := range codes {
		if errors.Is(err, is) {
			r.Code = code
		}
	}
	return r
}

func (r Response) err() error {
	if r.Error == "" {
		return nil
	}
	return &remoteError{text: r.Error, is: codes[r.Code]}
}

// Phase is how far an instance has come. It only moves forward.
type Phase string

// The phases of an instance.
const (
	Attached Phase = "attached" // holds volumes, nothing was started
	Running  Phase = "running"  // at least one process may run
	Exited   Phase = "exited"   // no process is left and none will come
)

// Status is what a keeper knows of its instance. It is kept in state.json, too.
type Status struct {
	Server string      `json:"server"`
	Epoch  fleet.Epoch `json:"epoch"`
	// Rev rises with each change, so that a late answer shows to be late.
	Rev uint64 `json:"rev"`
	// Term is the highest controller term that the keeper has seen.
	Term  fleet.Term `json:"term"`
	Phase Phase      `json:"phase"`
	// Since is when Phase began.
	Since time.Time `json:"since"`
	// Keeper and App name the processes within the boot BootID. App is zero
	// until the application runs.
	BootID string       `json:"bootId"`
	Keeper proc.Process `json:"keeper"`
	App    proc.Process `json:"app,omitzero"`
	// Exit is how the application's first process ended; others may still run.
	Exit *Exit `json:"exit,omitempty"`
	// Reaped: no process was ever started, or the keeper waited for the last.
	Reaped bool `json:"reaped"`
	// LocksFree: after that, every volume's lock was found free.
	LocksFree bool `json:"locksFree"`
	// Trouble is what went wrong while volumes and addresses were let go.
	Trouble string `json:"trouble,omitempty"`
	// Retired: the keeper has ended on request.
	Retired   bool              `json:"retired,omitempty"`
	Volumes   []Volume          `json:"volumes,omitempty"`
	Addresses []address.Address `json:"addresses,omitempty"`
	Launch    *Launch           `json:"launch,omitempty"`
}

// Exit is how a process ended.
type Exit struct {
	Code int `json:"code"`
	// Signal is the name of the signal that killed it, or empty.
	Signal string `json:"signal,omitempty"`
	// Error is why it could not even start, or empty.
	Error string    `json:"error,omitempty"`
	At    time.Time `json:"at"`
}

// Config is what an agent writes to an instance directory before it starts the
// keeper there.
type Config struct {
	Server string      `json:"server"`
	Epoch  fleet.Epoch `json:"epoch"`
	Term   fleet.Term  `json:"term"`
	// Claims is the directory of the host's address claims.
	Claims string `json:"claims"`
}
