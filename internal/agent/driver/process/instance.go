package process

import (
	"errors"
	"time"

	"relight/internal/agent/address"
	"relight/internal/agent/keeper"
	"relight/internal/core/fleet"
)

// Errors of the driver. Those of packages keeper, volume and address also pass
// through it.
var (
	// ErrOldTerm: a controller with a higher term has spoken to this host.
	ErrOldTerm = keeper.ErrOldTerm
	// ErrOldEpoch: this host has seen a higher epoch of the server.
	ErrOldEpoch = errors.New("epoch is old")
	// ErrFenced: this host was told to stop the epoch, or has sealed it. Nothing of
	// it starts here again.
	ErrFenced = errors.New("epoch is fenced")
	// ErrAlive: processes of an earlier epoch of the server are left on this host.
	ErrAlive = errors.New("an earlier epoch is alive")
	// ErrKeeperLost: the instance's keeper is gone; the instance can only be stopped.
	ErrKeeperLost = errors.New("keeper is lost")
	// ErrAbsent: the instance was never attached on this host.
	ErrAbsent = errors.New("instance is not on this host")
	// ErrNotFound: the volume holds no trace of an instance that had it, so that
	// this is not its volume; a seal of it proves nothing.
	ErrNotFound = errors.New("volume has no trace of the instance")
	// ErrBusy: another agent uses the directory.
	ErrBusy = errors.New("another agent uses the directory")
	// ErrName: the server's name cannot name a directory.
	ErrName = errors.New("server name is unusable")
)

// Ref names an instance and the controller that orders.
type Ref struct {
	Server string      `json:"server"`
	Epoch  fleet.Epoch `json:"epoch"`
	Term   fleet.Term  `json:"term"`
}

// Order asks for an instance with these volumes, ready to launch.
type Order struct {
	Ref
	Volumes []keeper.Volume `json:"volumes"`
	// Fresh: the volumes may be directories without a record.
	Fresh bool `json:"fresh,omitempty"`
}

// State is what is known of an instance.
type State string

// The states of an instance.
const (
	// Absent: this agent's directory knows nothing of it. With Fenced set, nothing
	// of it will start here; that nothing has is only as sure as the directory.
	Absent State = "absent"
	// Attached: it holds its volumes; nothing of it was started.
	Attached State = "attached"
	// Running: at least one of its processes may run.
	Running State = "running"
	// Exited: no process of it is left, and none will come. With Reaped and
	// LocksFree this is final evidence.
	Exited State = "exited"
	// KeeperLost: its keeper is gone. Processes tells what is seen, but an empty
	// list is no evidence: only a seal is.
	KeeperLost State = "keeperLost"
)

// Instance is an instance on this host, as it is known now.
type Instance struct {
	Server string      `json:"server"`
	Epoch  fleet.Epoch `json:"epoch"`
	State  State       `json:"state"`
	Since  time.Time   `json:"since"`
	// PID is the application's first process, 0 before it was started.
	PID int `json:"pid,omitempty"`
	// Exit is how that process ended; others of it may run on.
	Exit      *keeper.Exit `json:"exit,omitempty"`
	Reaped    bool         `json:"reaped"`
	LocksFree bool         `json:"locksFree"`
	// Fenced: nothing of this epoch is started on this host again.
	Fenced bool `json:"fenced"`
	// Processes and LocksHeld are what is seen of an instance that lost its keeper:
	// its processes, and whether any of its volumes is locked.
	Processes []int             `json:"processes,omitempty"`
	LocksHeld bool              `json:"locksHeld,omitempty"`
	Trouble   string            `json:"trouble,omitempty"`
	Retired   bool              `json:"retired,omitempty"`
	Volumes   []keeper.Volume   `json:"volumes,omitempty"`
	Addresses []address.Address `json:"addresses,omitempty"`
}

// Ended reports that the instance has ended for certain, which is final evidence. Only
// both together are: a lock that is still held has a holder whom the keeper did not
// wait for.
func (i Instance) Ended() bool { return i.State == Exited && i.Reaped && i.LocksFree }

func instanceOf(st keeper.Status) Instance {
	return Instance{
		Server: st.Server, Epoch: st.Epoch, State: State(st.Phase), Since: st.Since,
		PID: st.App.PID, Exit: st.Exit, Reaped: st.Reaped, LocksFree: st.LocksFree,
		Trouble: st.Trouble, Retired: st.Retired,
		Volumes: st.Volumes, Addresses: st.Addresses,
	}
}
