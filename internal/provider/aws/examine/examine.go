// Package examine says, before anything fails, what would keep servers on EC2 from
// being healed: rights, quotas, capacity, keys, other healers. It is pure; package sdk
// reads the account.
package examine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider/aws"
)

// State is how bad a finding is.
type State string

// The states of findings.
const (
	OK   State = "ok"
	Warn State = "warn"
	Fail State = "fail"
)

// Finding is one thing that was looked at.
type Finding struct {
	Check string
	State State
	// What was found, and why that matters; Next is the command or deed that helps.
	What, Why, Next string
}

// Facts are what was read of an account.
type Facts struct {
	// Principal is whose policies speak for Caller: the role of its session.
	Region, Caller, Principal string
	// Share of the API quotas is ours, 0 to 1. RTO is how soon every server must be
	// back; 0 asks nothing.
	Share float64
	RTO   time.Duration
	// Quotas are the request quotas, Told how many of them the account itself told.
	Quotas  aws.Quotas
	Told    int
	Servers []fleet.Server
	Rights  []Right
	// Machines are the servers' instances, Facets what else is known of them by id.
	Machines []aws.Machine
	Facets   map[string]Facet
	Launches map[string]Launch // by server
	Subnets  map[string]Subnet
	Offered  map[string][]string // machine types, by zone
	CPUs     map[string]int      // by machine type
	Reserved []Reserved
	Rooms    map[string]Room // by Outpost's ARN
	Volumes  map[string]Volume
	// Snapshots are the newest complete ones of the volumes that may be made anew from
	// one, by volume; nil if they could not be read. At is when that was.
	Snapshots map[string]aws.Snapshot
	At        time.Time
	Keys      map[string]Key // by ARN
	UsedCPUs  int
	QuotaCPUs int // 0 if it is not known
	// Alarms are those with an action of their own on an instance.
	Alarms []Alarm
	// Drift is what runs against what is declared, by server; Undrifted are the servers for
	// which that was not read, since they are many.
	Drift     map[string]Drift
	Undrifted []string
	// Blind are the parts that could not be read, each with what AWS said.
	Blind []string
}

// Answer is whether an action is allowed.
type Answer string

// The answers.
const (
	Allowed Answer = "allowed"
	Denied  Answer = "denied"
	Unknown Answer = "unknown"
)

// Right is one action that Relight needs.
type Right struct {
	Action string
	Answer Answer
	// Detail is what AWS said, decoded where it was allowed to be.
	Detail string
	// Why is what fails without it; "" for any recovery that needs it.
	Why string
}

// Facet is what a sweep does not read of an instance.
type Facet struct {
	Protected    bool
	ScalingGroup string
}

// Launch is what a server would be launched with.
type Launch struct {
	Template, Image, Type, Subnet, Key string
	Version                            int
	// Missing is what of it is not there, in words.
	Missing string
}

// Subnet has room for so many addresses.
type Subnet struct {
	Zone, Outpost string
	Free          int
}

// Reserved is a capacity reservation with what is left of it.
type Reserved struct {
	ID, Type, Zone string
	Free           int
}

// Room is how many more instances of each machine type an Outpost takes.
type Room struct {
	Free map[string]int
	// Blind is why that could not be read, or empty.
	Blind string
}

// Volume is what matters of one before it must move.
type Volume struct {
	Zone, Type, Key string
	Multi, Ends     bool
	Created         time.Time
	Holders         []string
}

// Key is a KMS key.
type Key struct {
	State string
	// Managed by AWS: its policy lets EC2 use it.
	Managed bool
	Grant   Answer
}

// Alarm acts on an instance by itself.
type Alarm struct{ Name, Instance, Action string }

// Examine judges the facts. The findings come in the order in which they should be
// dealt with: what cannot be read, rights, quotas, and then each server.
func Examine(f Facts) []Finding {
	var out []Finding
	for _, b := range f.Blind {
		out = append(out, Finding{"reads", Warn, "could not be read: " + b, "what depends on it was not looked at", "grant the action; the list is in docs/guide/aws.md"})
	}
	out = append(out, f.rights()...)
	out = append(out, f.pace(), f.cpus())
	for _, s := range f.Servers {
		list := append(f.capacity(s), f.healers(s)...)
		list = append(list, f.disks(s)...)
		list = append(list, f.drift(s)...)
		if len(list) == 0 {
			list = []Finding{{Check: "server " + s.Name, State: OK, What: "nothing stands in the way of its recovery"}}
		}
		out = append(out, list...)
	}
	return append(out, f.unread()...)
}

func (f Facts) rights() []Finding {
	var out []Finding
	var unknown, allowed []string
	for _, r := range f.Rights {
		switch r.Answer {
		case Denied:
			out = append(out, Finding{"right " + r.Action, Fail, strings.TrimSpace(r.Action + " is denied: " + r.Detail), cmp.Or(r.Why, "a recovery that needs it fails"), fmt.Sprintf("add %s to the policy of %s", r.Action, f.Caller)})
		case Unknown:
			unknown = append(unknown, r.Action)
		default:
			allowed = append(allowed, r.Action)
		}
	}
	if len(out) == 0 && len(allowed) > 0 {
		out = append(out, Finding{Check: "rights", State: OK, What: fmt.Sprintf("%d actions that could be tried or simulated are allowed", len(allowed))})
	}
	if len(unknown) > 0 {
		out = append(out, Finding{"rights untried", Warn, "not known: " + f.unknown(), "they cannot be tried without doing them, or there is nothing yet to try them on", fmt.Sprintf("allow iam:SimulatePrincipalPolicy, or: aws iam simulate-principal-policy --policy-source-arn %s --action-names %s", cmp.Or(f.Principal, f.Caller), strings.Join(unknown, " "))})
	}
	return out
}

// unknown lists the actions of which nothing is known, with the reason behind all that
// share it.
func (f Facts) unknown() string {
	var reasons, out []string
	actions := map[string][]string{}
	for _, r := range f.Rights {
		if r.Answer != Unknown {
			continue
		}
		if actions[r.Detail] == nil {
			reasons = append(reasons, r.Detail)
		}
		actions[r.Detail] = append(actions[r.Detail], r.Action)
	}
	for _, why := range reasons {
		text := strings.Join(actions[why], ", ")
		if why != "" {
			text += " (" + why + ")"
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

// machines are the instances of one server that have not ended.
func (f Facts) machines(server string) []aws.Machine {
	return slices.DeleteFunc(slices.Clone(f.Machines), func(m aws.Machine) bool {
		return m.Tags[aws.TagServer] != server || m.State == "terminated" || m.State == "shutting-down"
	})
}

// healers are those that would act beside us: two undo each other's work.
func (f Facts) healers(s fleet.Server) []Finding {
	var out []Finding
	add := func(state State, what, why, next string) {
		out = append(out, Finding{"server " + s.Name, state, what, why, next})
	}
	ours := s.Spec.Template.EC2 == nil || s.Spec.Template.EC2.AutoRecovery != fleet.AutoRecoveryPlatform
	for _, m := range f.machines(s.Name) {
		facet := f.Facets[m.ID]
		if g := facet.ScalingGroup; g != "" {
			add(Fail, fmt.Sprintf("%s belongs to the Auto Scaling group %s", m.ID, g), "it replaces the instance when we stop it, so that two of them live", fmt.Sprintf("aws autoscaling detach-instances --should-decrement-desired-capacity --auto-scaling-group-name %s --instance-ids %s", g, m.ID))
		}
		for _, a := range f.Alarms {
			if a.Instance == m.ID {
				add(Fail, fmt.Sprintf("the alarm %s does %s to %s", a.Name, a.Action, m.ID), "both would act on the same failure", "aws cloudwatch disable-alarm-actions --alarm-names "+a.Name)
			}
		}
		if ours && m.AutoRecovery == "default" {
			add(Warn, m.ID+" has EC2's simplified automatic recovery, and the spec says ours", "both would act on failed hardware until Relight's first recovery switches it off", "aws ec2 modify-instance-maintenance-options --auto-recovery disabled --instance-id "+m.ID)
		}
		if facet.Protected {
			add(Fail, m.ID+" is protected from being terminated", "it could not be fenced for a relaunch", "aws ec2 modify-instance-attribute --no-disable-api-termination --instance-id "+m.ID)
		}
		for _, n := range s.Spec.Identity.Interfaces {
			if at, ends := m.Ending[n.ID]; ends {
				add(Warn, fmt.Sprintf("interface %s ends with %s", n.ID, m.ID), "its private addresses are lost if anybody but Relight terminates the instance", fmt.Sprintf("aws ec2 modify-network-interface-attribute --network-interface-id %s --attachment AttachmentId=%s,DeleteOnTermination=false", n.ID, at))
			}
		}
	}
	return out
}

// reservationsSince is from when on Multi-Attach volumes of type io2 have NVMe
// reservations without being asked (AWS EBS guide, nvme-reservations).
var reservationsSince = time.Date(2023, 9, 18, 0, 0, 0, 0, time.UTC)

// disks looks at what holds the data: where it can go, who else writes, which key.
func (f Facts) disks(s fleet.Server) []Finding {
	var out []Finding
	add := func(state State, what, why, next string) {
		out = append(out, Finding{"server " + s.Name, state, what, why, next})
	}
	keys := map[string]string{}
	if k := f.Launches[s.Name].Key; k != "" {
		keys[k] = "its root disk"
	}
	for _, v := range s.Spec.Identity.Volumes {
		seen, there := f.Volumes[v.ID]
		if !there {
			if len(f.Blind) == 0 {
				add(Fail, fmt.Sprintf("volume %s (%s) is not there", v.Name, v.ID), "the server would never be whole", "aws ec2 describe-volumes --volume-ids "+v.ID)
			}
			continue
		}
		if seen.Key != "" {
			keys[seen.Key] = "volume " + v.Name
		}
		switch {
		case seen.Multi && (seen.Type != "io2" || seen.Created.Before(reservationsSince)):
			add(Fail, fmt.Sprintf("volume %s (%s, %s) is Multi-Attach without reservations", v.Name, v.ID, seen.Type), "nothing at the volume keeps an old instance from writing beside the new one", "move the data to a volume of type io2 that is made anew, or to one without Multi-Attach")
		case seen.Multi && len(seen.Holders) > 1:
			add(Warn, fmt.Sprintf("volume %s (%s) is attached to %s", v.Name, v.ID, strings.Join(seen.Holders, ", ")), "Relight fences its own instance, and not others that write to it", "aws ec2 detach-volume --volume-id "+v.ID+" --instance-id INSTANCE")
		}
		out = append(out, f.snapshot(s, v)...)
		if seen.Ends {
			add(Warn, fmt.Sprintf("volume %s (%s) is deleted with its instance", v.Name, v.ID), "its data are gone if anybody but Relight terminates that", "aws ec2 modify-instance-attribute --instance-id INSTANCE --block-device-mappings '[{\"DeviceName\":\"DEVICE\",\"Ebs\":{\"DeleteOnTermination\":false}}]'")
		}
	}
	return append(out, f.keys(s, keys)...)
}

// snapshot looks at what a volume would be made anew from in another zone.
func (f Facts) snapshot(s fleet.Server, v fleet.Volume) []Finding {
	if v.FromSnapshot == nil || f.Snapshots == nil {
		return nil
	}
	const why = "without a snapshot that is new enough the server waits for its own zone, however long that is lost"
	next := "aws ec2 create-snapshot --volume-id " + v.ID + ", and let AWS Backup or Data Lifecycle Manager make them more often"
	n, most := f.Snapshots[v.ID], v.FromSnapshot.MaxLoss.Std()
	switch age := f.At.Sub(n.At).Truncate(time.Second); {
	case n.ID == "":
		return []Finding{{"server " + s.Name, Fail, fmt.Sprintf("volume %s (%s) has no complete snapshot, and may be made anew from one", v.Name, v.ID), why, next}}
	case age > most:
		return []Finding{{"server " + s.Name, Warn, fmt.Sprintf("the newest snapshot of volume %s (%s) is %s old, and fromSnapshot.maxLoss allows %s", v.Name, n.ID, fleet.Duration(age), v.FromSnapshot.MaxLoss), why, next}}
	default:
		return nil
	}
}

// keys asks whether the controller's role may have EC2 use the keys.
func (f Facts) keys(s fleet.Server, uses map[string]string) []Finding {
	var out []Finding
	for _, arn := range sorted(uses) {
		k, known := f.Keys[arn]
		what := uses[arn]
		next := "aws kms get-key-policy --policy-name default --key-id " + arn
		switch {
		case !known:
			out = append(out, Finding{"server " + s.Name, Warn, fmt.Sprintf("the key of %s (%s) could not be looked at", what, arn), "if the role may not make a grant on it, the instance ends with Client.InternalError as it starts", next})
		case k.State != "" && k.State != "Enabled":
			out = append(out, Finding{"server " + s.Name, Fail, fmt.Sprintf("the key of %s (%s) is %s", what, arn, k.State), "EC2 can read the disk no more once it is attached anew", "aws kms enable-key --key-id " + arn})
		case !k.Managed && k.Grant == Denied:
			out = append(out, Finding{"server " + s.Name, Warn, fmt.Sprintf("kms:CreateGrant on the key of %s (%s) is refused to %s", what, arn, f.Caller), "EC2 needs a grant to attach the disk; a policy that allows it only with kms:GrantIsForAWSResource looks the same from here", next})
		}
	}
	return out
}
