package spec

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"relight/internal/core/fleet"
)

// Default is what a field means when nobody sets it.
type Default struct {
	// Kind and Path name the field, such as Server and spec.health.downAfter.
	Kind Kind
	Path string
	// Value is JSON.
	Value string
	// Reason is why just this value.
	Reason string
}

// Defaults lists all defaults with their reasons, in the order of the fields.
// Rules are listed once, under Policy; they hold for servers in the same way.
func Defaults() []Default {
	var out []Default
	for _, k := range Kinds() {
		walk(shapeOf(k), "", func(path string, f field) {
			rule := k == KindServer && slices.ContainsFunc(ruleFields(), func(r field) bool {
				return path == "spec."+r.name || strings.HasPrefix(path, "spec."+r.name+".")
			})
			if f.def != "" && !rule {
				out = append(out, Default{k, path, f.def, f.why})
			}
		})
	}
	return out
}

// walk visits every field below s, depth first, in the table's order.
func walk(s *shape, path string, visit func(path string, f field)) {
	if s.form == list {
		walk(s.elem, path+"[]", visit)
		return
	}
	for _, f := range s.fields {
		visit(join(path, f.name), f)
		walk(f.shape, join(path, f.name), visit)
	}
}

// defaultPolicy is what holds where no Policy called default says otherwise.
var defaultPolicy = sync.OnceValues(func() (fleet.PolicySpec, error) {
	var p fleet.PolicySpec
	tree, err := defaultTree(policyShape())
	if err != nil {
		return p, err
	}
	raw, err := json.Marshal(tree)
	if err != nil {
		return p, err
	}
	err = json.Unmarshal(raw, &p)
	return p, err
})

func defaultTree(s *shape) (map[string]any, error) {
	out := map[string]any{}
	for _, f := range s.fields {
		if f.def != "" {
			var v any
			if err := json.Unmarshal([]byte(f.def), &v); err != nil {
				return nil, fmt.Errorf("default of %s: %w", f.name, err)
			}
			out[f.name] = v
		} else if f.shape.form == object {
			sub, err := defaultTree(f.shape)
			if err != nil {
				return nil, err
			}
			out[f.name] = sub
		}
	}
	return out, nil
}

// The defaults outside of rules. A test holds them against the table.
const (
	defaultUnits        = 1
	defaultStopGrace    = fleet.Duration(10 * time.Second)
	defaultMemory       = 512
	defaultCPUs         = 1
	defaultVMStopGrace  = fleet.Duration(30 * time.Second)
	defaultTTL          = fleet.Duration(time.Minute)
	defaultPowerTimeout = fleet.Duration(30 * time.Second)
	defaultWindow       = fleet.Duration(10 * time.Minute)
	defaultFileSystem   = "ext4"
)

// ErrUnknownPolicy means that a server names a Policy that does not exist.
var ErrUnknownPolicy = errors.New("unknown policy")

// Policies fills what servers leave out. It is built once from all Policy
// documents and never changes; any goroutine may use it.
type Policies struct {
	named map[string]fleet.Policy
	fleet fleet.Policy
}

// NewPolicies layers the Policy documents among docs: each over the one called
// default, and that one over Defaults. Other kinds are passed over.
func NewPolicies(docs []Doc) (*Policies, error) {
	base, err := defaultPolicy()
	if err != nil {
		return nil, fmt.Errorf("spec: %w", err)
	}
	p := &Policies{named: map[string]fleet.Policy{}, fleet: fleet.Policy{Name: DefaultPolicy, Spec: base}}
	for _, d := range docs {
		if d.Kind == KindPolicy && d.Name == DefaultPolicy {
			if p.fleet.Spec, err = overlay(base, d); err != nil {
				return nil, err
			}
			p.named[d.Name] = p.fleet
		}
	}
	for _, d := range docs {
		if d.Kind != KindPolicy || d.Name == DefaultPolicy {
			continue
		}
		spec, err := overlay(fleet.PolicySpec{Rules: p.fleet.Spec.Rules}, d)
		if err != nil {
			return nil, err
		}
		p.named[d.Name] = fleet.Policy{Name: d.Name, Spec: spec}
	}
	return p, nil
}

func overlay(base fleet.PolicySpec, d Doc) (fleet.PolicySpec, error) {
	rules, err := layer(base.Rules, d)
	if err != nil {
		return base, err
	}
	base.Rules = rules
	err = d.spec(&base)
	return base, err
}

// layer returns base in a form over which the rules of d may be decoded. Lists
// are cut off from base, because decoding reuses their memory; and where d
// chooses a check of its own, base's check goes, because only one may be set.
func layer(base fleet.Rules, d Doc) (fleet.Rules, error) {
	var own struct {
		Health struct {
			Check map[string]json.RawMessage `json:"check"`
		} `json:"health"`
	}
	if err := d.spec(&own); err != nil {
		return base, err
	}
	base.Ladder.Rungs = slices.Clone(base.Ladder.Rungs)
	check := &base.Health.Check
	check.Exec = slices.Clone(check.Exec)
	for _, way := range []string{"http", "tcp", "exec", "beat"} {
		if _, set := own.Health.Check[way]; set {
			check.HTTP, check.TCP, check.Exec, check.Beat = "", "", nil, false
		}
	}
	return base, nil
}

// Fleet returns the effective Policy called default, whether declared or not. It
// holds the budget and the storm threshold of the whole fleet.
func (p *Policies) Fleet() fleet.Policy { return clonePolicy(p.fleet) }

// Policy returns the effective Policy of that name. Only the one called default
// carries a budget and a storm threshold.
func (p *Policies) Policy(name string) (fleet.Policy, bool) {
	pol, ok := p.named[name]
	return clonePolicy(pol), ok
}

func clonePolicy(p fleet.Policy) fleet.Policy {
	p.Spec.Ladder.Rungs = slices.Clone(p.Spec.Ladder.Rungs)
	p.Spec.Health.Check.Exec = slices.Clone(p.Spec.Health.Check.Exec)
	return p
}

// Effective returns the server with every field filled: what its document sets,
// then what its Policy sets, then the Policy called default, then Defaults. It
// returns ErrUnknownPolicy if the named Policy does not exist.
func (p *Policies) Effective(server Doc) (fleet.Server, error) {
	if server.Kind != KindServer {
		return fleet.Server{}, fmt.Errorf("%s: not a server: %w", server, ErrNotDoc)
	}
	var named struct {
		Policy string `json:"policy"`
	}
	if err := server.spec(&named); err != nil {
		return fleet.Server{}, err
	}
	base := p.fleet
	if named.Policy != "" {
		var ok bool
		if base, ok = p.named[named.Policy]; !ok {
			return fleet.Server{}, fmt.Errorf("%s: %w %q", server, ErrUnknownPolicy, named.Policy)
		}
	}
	rules, err := layer(base.Spec.Rules, server)
	if err != nil {
		return fleet.Server{}, err
	}
	s := fleet.Server{Name: server.Name, Labels: server.Labels, Spec: fleet.ServerSpec{Rules: rules}}
	if err := server.spec(&s.Spec); err != nil {
		return fleet.Server{}, err
	}
	fillServer(s.Name, &s.Spec)
	return s, nil
}

// fillServer fills what no Policy can. Zero is refused for all of these fields
// where it is written, so zero means unset.
func fillServer(name string, s *fleet.ServerSpec) {
	if s.Provider == "" {
		s.Provider = providerOf(s.Template)
	}
	if s.Placement.Units == 0 {
		s.Placement.Units = defaultUnits
	}
	if t := s.Template.Process; t != nil && t.StopGrace == 0 {
		t.StopGrace = defaultStopGrace
	}
	if t := s.Template.VM; t != nil {
		fillVM(name, t)
	}
	s.Quiesce = fillQuiesce(s.Quiesce)
	if t := s.Template.EC2; t != nil {
		if t.AutoRecovery == "" {
			t.AutoRecovery = fleet.AutoRecoveryOurs
		}
		if t.Elsewhere != nil && t.Elsewhere.After == 0 {
			t.Elsewhere.After = defaultElsewhereAfter
		}
		slowly(&s.Rules)
	}
	for i := range s.Identity.Names {
		if n := &s.Identity.Names[i]; n.TTL == 0 {
			n.TTL = defaultTTL
		}
	}
	for i := range s.Identity.Volumes {
		v := &s.Identity.Volumes[i]
		v.LUN = lunOf(name, i, *v)
		if v.ForceDetach != nil && v.ForceDetach.After == 0 {
			v.ForceDetach = &fleet.ForceDetach{After: defaultForceAfter}
		}
		if v.Mount != nil && v.Mount.Type == "" {
			v.Mount.Type = defaultFileSystem
		}
		switch {
		case v.Reach != "":
		case v.LUN != nil:
			v.Reach = fleet.ReachArray
		case v.ID != "":
			v.Reach = fleet.ReachZone
		default:
			// The careful one: a path that is in truth shared would be opened
			// twice, one that is in truth local just does not move.
			v.Reach = fleet.ReachHost
		}
	}
}

// slowly raises the times of a server on EC2 to what EC2 can tell at all: its instances
// are read every few seconds, its status checks are made once a minute and told some
// seconds later, and an instance takes minutes to start. Shorter ones would call each
// reading old and each start a failure.
func slowly(r *fleet.Rules) {
	atLeast := func(d *fleet.Duration, least time.Duration) { *d = max(*d, fleet.Duration(least)) }
	atLeast(&r.Health.SuspectAfter, 20*time.Second)
	atLeast(&r.Health.DownAfter, 30*time.Second)
	atLeast(&r.Health.ImpairedAfter, time.Minute)
	atLeast(&r.Health.StartupGrace, 3*time.Minute)
	atLeast(&r.Ladder.VerifyWithin, 5*time.Minute)
}

func fillVM(name string, t *fleet.VMTemplate) {
	if t.Memory == 0 {
		t.Memory = defaultMemory
	}
	if t.CPUs == 0 {
		t.CPUs = defaultCPUs
	}
	if t.StopGrace == 0 {
		t.StopGrace = defaultVMStopGrace
	}
	if t.MAC == "" {
		t.MAC = macOf(name)
	}
	t.Boot = bootOf(*t)
}

// Site returns the site with every field filled.
func Site(d Doc) (fleet.Site, error) {
	if d.Kind != KindSite {
		return fleet.Site{}, fmt.Errorf("%s: not a site: %w", d, ErrNotDoc)
	}
	s := fleet.Site{Name: d.Name}
	if err := d.spec(&s.Spec); err != nil {
		return fleet.Site{}, err
	}
	if s.Spec.Budget.Window == 0 {
		s.Spec.Budget.Window = defaultWindow
	}
	fillPower(s.Spec.Power)
	return s, nil
}
