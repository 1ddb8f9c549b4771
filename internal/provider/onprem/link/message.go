package link

import (
	"relight/internal/beat"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// JoinRequest asks for a certificate. It is the only message without one.
type JoinRequest struct {
	V     int    `json:"v"`
	Token string `json:"token"`
	Host  string `json:"host"`
	// CSR is a PKCS #10 request in DER.
	CSR []byte `json:"csr"`
}

// JoinReply is what a host keeps from its enrolment.
type JoinReply struct {
	V int `json:"v"`
	// Cert is the host's certificate and Authority the only root that it trusts,
	// both in DER.
	Cert      []byte       `json:"cert"`
	Authority []byte       `json:"authority"`
	Agent     beat.AgentID `json:"agent"`
	BeatKey   []byte       `json:"beatKey"`
	// BeatAddr is where the controller takes beats, "host:port"; with an empty
	// host it is the controller's own, and all empty means no beats.
	BeatAddr string `json:"beatAddr,omitempty"`
}

// RenewRequest asks for a new certificate; it is authenticated by the present one.
type RenewRequest struct {
	V int `json:"v"`
	// CSR is a PKCS #10 request in DER, of a new key.
	CSR []byte `json:"csr"`
}

// RenewReply carries the new certificate in DER. The same key gets the same again.
type RenewReply struct {
	V    int    `json:"v"`
	Cert []byte `json:"cert"`
}

// Beats carries an agent's sealed beats where UDP is blocked, and their sealed acks
// back. They are the same datagrams, with the same counters.
type Beats struct {
	V         int      `json:"v"`
	Datagrams [][]byte `json:"datagrams,omitempty"`
}

// Work asks for commands. It is answered as soon as there is something to do, a
// new watch or a wish for a report, and with an empty reply after WaitMost.
// Until then the controller sends a newline each second, so that a connection
// that died without a word is noticed.
type Work struct {
	V int `json:"v"`
	// Knows lists the commands that the agent has been handed and has not yet
	// delivered the result of. A command that the controller waits for and that is
	// not listed got lost on its way and is handed out again.
	Knows []string `json:"knows,omitempty"`
	// Watch is the version of the watch that the agent has, 0 if none.
	Watch uint64 `json:"watch,omitempty"`
	// Controller is the incarnation of the controller that made that watch.
	Controller string `json:"controller,omitempty"`
	// Look is the highest look that the agent was asked for.
	Look uint64 `json:"look,omitempty"`
}

// WorkReply is what an agent is to do.
type WorkReply struct {
	V int `json:"v"`
	// Term is the controller's highest term so far.
	Term     fleet.Term `json:"term,omitempty"`
	Commands []Command  `json:"commands,omitempty"`
	// Watch replaces the agent's watch, if it is set.
	Watch *Watch `json:"watch,omitempty"`
	// Look, if it is not 0, asks for a report that carries it.
	Look uint64 `json:"look,omitempty"`
}

// Command is one step for the agent.
type Command struct {
	// ID is the step's token: a replay leaves one effect (invariant S7).
	ID   string     `json:"id"`
	Term fleet.Term `json:"term"`
	Step fleet.Step `json:"step"`
	// Within is what is left of the step's time. The agent begins nothing after it.
	Within fleet.Duration `json:"within"`
	// Volumes and Addresses are the server's; Process is its template with all
	// placeholders replaced.
	Volumes   []fleet.Volume         `json:"volumes,omitempty"`
	Addresses []fleet.Address        `json:"addresses,omitempty"`
	Process   *fleet.ProcessTemplate `json:"process,omitempty"`
	// VM is the server's template of a virtual machine, and Disks where its LUNs are.
	VM    *fleet.VMTemplate `json:"vm,omitempty"`
	Disks []Disk            `json:"disks,omitempty"`
	Units int               `json:"units,omitempty"`
	// Quiesce is run before the stop of a planned move, with all placeholders replaced.
	Quiesce *fleet.Quiesce `json:"quiesce,omitempty"`
	// Power is the device of Step.Host for a powerOff step through another host.
	Power *fleet.Power `json:"power,omitempty"`
}

// Disk is a LUN as one epoch logs in to it.
type Disk struct {
	Volume string `json:"volume"`
	// Portal is address:port, Target the array's IQN, Unit the number there.
	Portal string `json:"portal"`
	Target string `json:"target"`
	Unit   int    `json:"unit"`
	// MorePortals are further ways to the same target.
	MorePortals []string `json:"morePortals,omitempty"`
	// Initiator, User and Secret are the epoch's own (CHAP).
	Initiator string `json:"initiator"`
	User      string `json:"user"`
	Secret    string `json:"secret"`
}

// Result is the outcome of a command, with a report made after it.
type Result struct {
	V  int    `json:"v"`
	ID string `json:"id"`
	// Evidence carries no times: the receiver stamps it.
	Evidence []fleet.Evidence `json:"evidence,omitempty"`
	Detail   string           `json:"detail,omitempty"`
	// Note is what the record of the step's end must say besides.
	Note string `json:"note,omitempty"`
	// Class is empty if the command succeeded.
	Class           provider.Class `json:"class,omitempty"`
	Error           string         `json:"error,omitempty"`
	MayHaveHappened bool           `json:"mayHaveHappened,omitempty"`
	// Replayed is true if the effect is an earlier one of the same command.
	Replayed bool    `json:"replayed,omitempty"`
	Report   *Report `json:"report,omitempty"`
}

// Report is everything that an agent knows, each time in full, so that a lost one
// costs nothing.
type Report struct {
	V int `json:"v"`
	// Run is drawn at each start of the agent, Seq rises within it: an older
	// report that comes late is not taken.
	Run string `json:"run"`
	Seq uint64 `json:"seq"`
	// Boot is the kernel's boot identifier.
	Boot string `json:"boot,omitempty"`
	// Look is the highest look that this report answers.
	Look uint64 `json:"look,omitempty"`
	// Units is how much the host can carry and UsedUnits what its instances take.
	Units     int `json:"units"`
	UsedUnits int `json:"usedUnits"`
	// Full is why the host takes nothing new, or empty.
	Full string `json:"full,omitempty"`
	// PeerAddr is where the agent answers its peers, "ip:port"; with an empty or
	// unspecified ip it is the one from which it reports.
	PeerAddr string `json:"peerAddr,omitempty"`

	Instances []Instance `json:"instances,omitempty"`
	Volumes   []Volume   `json:"volumes,omitempty"`
	Addresses []Address  `json:"addresses,omitempty"`
	Contests  []Contest  `json:"contests,omitempty"`
	Checks    []Answer   `json:"checks,omitempty"`
	Probes    []Answer   `json:"probes,omitempty"`
	// Pings and StorageBeats speak of other hosts.
	Pings        []HostAnswer `json:"pings,omitempty"`
	StorageBeats []HostAnswer `json:"storageBeats,omitempty"`
	// Kernels names the hosts that run without an agent, as their own kernels say.
	Kernels []HostAnswer `json:"kernels,omitempty"`
	// Hypervisor is set on hosts that can run virtual machines; Warm are the guests
	// that wait there.
	Hypervisor *fleet.Hypervisor `json:"hypervisor,omitempty"`
	Warm       []fleet.Warm      `json:"warm,omitempty"`
	// Watchdog is set on hosts whose agent was given a watchdog device.
	Watchdog *fleet.Watchdog `json:"watchdog,omitempty"`
	// StorageBeat tells whether the host writes its own heartbeat to shared storage.
	StorageBeat fleet.Answer `json:"storageBeat,omitempty"`
}

// Instance is an instance that the host has or had.
type Instance struct {
	Server   string              `json:"server"`
	Epoch    fleet.Epoch         `json:"epoch"`
	State    fleet.InstanceState `json:"state"`
	SinceAgo fleet.Duration      `json:"sinceAgo"`
	// Alive is whether any process of it is seen. With the state reaped, no is the
	// word of whoever waited for the last process.
	Alive  fleet.Answer `json:"alive,omitempty"`
	Detail string       `json:"detail,omitempty"`
}

// Volume is a volume that the host can reach.
type Volume struct {
	Server string `json:"server"`
	Volume string `json:"volume"`
	// Looked is true if the epoch file was read and the lock asked for; else the
	// host only knows that it reaches the volume.
	Looked bool `json:"looked,omitempty"`
	// Fresh is true for a directory without a record of any server.
	Fresh  bool        `json:"fresh,omitempty"`
	Epoch  fleet.Epoch `json:"epoch,omitempty"`
	Sealed fleet.Epoch `json:"sealed,omitempty"`
	// Holder is the epoch of the host's own instance that holds it, or 0.
	Holder fleet.Epoch    `json:"holder,omitempty"`
	Held   fleet.Answer   `json:"held,omitempty"`
	Ago    fleet.Duration `json:"ago"`
}

// Address is an address that an instance of the host holds.
type Address struct {
	Server string      `json:"server"`
	IP     string      `json:"ip"`
	Holder fleet.Epoch `json:"holder"`
}

// Contest is an address of an instance of the host for which somebody elsewhere answers.
type Contest struct {
	Server string      `json:"server"`
	Epoch  fleet.Epoch `json:"epoch"`
	IP     string      `json:"ip"`
	// By are the MACs that answer.
	By  string         `json:"by"`
	Ago fleet.Duration `json:"ago"`
}

// Answer is what a check or a probe of a server said last.
type Answer struct {
	Server   string         `json:"server"`
	Epoch    fleet.Epoch    `json:"epoch,omitempty"` // 0 for probes, which cannot tell
	Alive    fleet.Answer   `json:"alive,omitempty"`
	Works    fleet.Answer   `json:"works,omitempty"`
	Ago      fleet.Duration `json:"ago"`
	SinceAgo fleet.Duration `json:"sinceAgo"`
	Detail   string         `json:"detail,omitempty"`
}

// HostAnswer is whether another host is alive, as this one sees it.
type HostAnswer struct {
	Host     string         `json:"host"`
	Alive    fleet.Answer   `json:"alive"`
	Ago      fleet.Duration `json:"ago"`
	SinceAgo fleet.Duration `json:"sinceAgo"`
	Detail   string         `json:"detail,omitempty"`
}

// Watch is what an agent looks at.
type Watch struct {
	Version uint64 `json:"version"`
	// Controller is the incarnation of the controller that made it.
	Controller string          `json:"controller"`
	Servers    []WatchedServer `json:"servers,omitempty"`
	// Portals are those of the arrays that have the servers' LUNs.
	Portals []Portal `json:"portals,omitempty"`
	Peers   []Peer   `json:"peers,omitempty"`
}

// Portal is where initiators log in to an array.
type Portal struct {
	Array string `json:"array"`
	// Addr is address:port.
	Addr string `json:"addr"`
}

// WatchedServer is a server that may run on the host or is near it.
type WatchedServer struct {
	Server string `json:"server"`
	// Check is made while an instance runs on this host; placeholders are replaced.
	Check fleet.Check `json:"check"`
	// Probe is set on witnesses: the check to make from here while the server runs
	// elsewhere.
	Probe *fleet.Check `json:"probe,omitempty"`
	// Look is set where the epoch file and the lock of the volumes are to be
	// looked at, and not only whether the host reaches them.
	Look        bool              `json:"look,omitempty"`
	Volumes     []fleet.Volume    `json:"volumes,omitempty"`
	OnIsolation fleet.OnIsolation `json:"onIsolation,omitempty"`
	// Warm is set where a standby guest is to wait while the server runs elsewhere;
	// Units is the room that it takes.
	Warm  *fleet.VMTemplate `json:"warm,omitempty"`
	Units int               `json:"units,omitempty"`
	// Heirs are the hosts that could take the server over: those that an agent out
	// of its lease asks.
	Heirs []string `json:"heirs,omitempty"`
}

// Peer is another host's agent.
type Peer struct {
	Host  string       `json:"host"`
	Agent beat.AgentID `json:"agent"`
	Addr  string       `json:"addr,omitempty"`
	// Ping is set where this host is to ask whether that one is there.
	Ping bool `json:"ping,omitempty"`
	// To and From are the keys of the two directions between the two agents.
	To   []byte `json:"to,omitempty"`
	From []byte `json:"from,omitempty"`
}
