// Package guest is the controller's side of the guest agents of cloud instances, and
// the words on the line to them: the plan that goes to an instance in its user data,
// the join that spends the plan's token, and the reports, which are the guest's beats.
//
// Who speaks is never in a body: it is the client certificate's, which names a server,
// an epoch and the instance that joined as it. What an epoch says that is over counts for nothing.
package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"relight/internal/core/fleet"
)

// Version is the version of the plan and of all messages.
const Version = 1

// The paths of the endpoints.
const (
	PathJoin   = "/guest/v1/join"
	PathReport = "/guest/v1/report"
	PathDisks  = "/guest/v1/disks"
)

// MaxBody is the longest message in bytes, maxText the longest text for people.
const (
	MaxBody = 64 << 10
	maxText = 512
)

// ErrMalformed refuses a plan or a message that no sender of ours makes.
var ErrMalformed = errors.New("message is malformed")

// Plan is what the agent of one epoch is to do.
type Plan struct {
	V      int         `json:"v"`
	Server string      `json:"server"`
	Epoch  fleet.Epoch `json:"epoch"`
	// Controller is the base URL of the controller. Token is the epoch's join token,
	// which names the controller's authority by its fingerprint.
	Controller string `json:"controller"`
	Token      string `json:"token"`
	// Volumes are those with a mount; Check is the application's own.
	Volumes []fleet.Volume `json:"volumes,omitempty"`
	Check   fleet.Check    `json:"check,omitzero"`
}

// ParsePlan reads a plan. Errors: ErrMalformed.
func ParsePlan(data []byte) (Plan, error) {
	var p Plan
	if err := json.Unmarshal(data, &p); err != nil {
		return Plan{}, fmt.Errorf("plan: %w: %w", ErrMalformed, err)
	}
	if p.V != Version || p.Server == "" || p.Epoch == 0 || p.Controller == "" || p.Token == "" {
		return Plan{}, fmt.Errorf("plan: %w: version, server, epoch, controller or token is missing", ErrMalformed)
	}
	for _, v := range p.Volumes {
		if v.Mount == nil || v.ID == "" && v.LUN == nil || !strings.HasPrefix(v.Mount.Path, "/") || v.Mount.Type == "" {
			return Plan{}, fmt.Errorf("plan: volume %q: %w", v.Name, ErrMalformed)
		}
	}
	return p, nil
}

// Disks are the LUNs of the guest's epoch, as it logs in to them.
type Disks struct {
	V     int    `json:"v"`
	Disks []Disk `json:"disks"`
}

// Disk is one LUN. Its secret is on this line alone: user data can be read by every
// program of the instance, and by whoever may describe it.
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

// JoinRequest asks for the certificate of a server's epoch.
type JoinRequest struct {
	V      int         `json:"v"`
	Server string      `json:"server"`
	Epoch  fleet.Epoch `json:"epoch"`
	// Instance is the machine that asks, such as i-0abc. The certificate names it, so that
	// what it says is taken for no other one's. The agent of an older image names none.
	Instance string `json:"instance,omitempty"`
	Token    string `json:"token"`
	// CSR is a PKCS #10 request in DER.
	CSR []byte `json:"csr"`
}

// JoinReply holds the certificate and the only root that the guest trusts, in DER.
type JoinReply struct {
	V         int    `json:"v"`
	Cert      []byte `json:"cert"`
	Authority []byte `json:"authority"`
}

// Report is all that a guest agent knows, and its beat.
type Report struct {
	V int `json:"v"`
	// Works is whether every volume is mounted right and the application passes its
	// check; Detail is what is missing or awaited.
	Works fleet.Answer `json:"works"`
	// Boot names the boot of the guest's kernel; a reboot makes another.
	Boot   string  `json:"boot,omitempty"`
	Detail string  `json:"detail,omitempty"`
	Mounts []Mount `json:"mounts,omitempty"`
}

// Mount is how far one volume has come.
type Mount struct {
	Volume string `json:"volume"`
	// State is a kind of core/mount: done, wait, broken or refuse.
	State  string `json:"state"`
	Detail string `json:"detail,omitempty"`
	// Formatted is whether the agent of this epoch made its file system, or began to;
	// Serial is then that of the disk.
	Formatted bool   `json:"formatted,omitempty"`
	Serial    string `json:"serial,omitempty"`
}

// Decode reads one message of at most MaxBody bytes. Unknown fields are passed over.
func Decode(r io.Reader, into any) error {
	data, err := io.ReadAll(io.LimitReader(r, MaxBody+1))
	switch {
	case err != nil:
		return fmt.Errorf("read message: %w", err)
	case len(data) > MaxBody:
		return fmt.Errorf("%w: it is longer than %d bytes", ErrMalformed, MaxBody)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// Cut shortens a text for people to what a message carries.
func Cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText-len("…")], "") + "…"
}
