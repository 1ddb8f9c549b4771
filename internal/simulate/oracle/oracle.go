// Package oracle holds a simulated run against the promises of the project. It
// looks at the world's truth, at the calls as they were sent and as their executors
// took them, and at the bytes that the store acknowledged. It uses the product's
// types of data and none of its rules: what follows from them it works out anew.
//
// Each file is one promise. Its comment says what exactly is checked, from which
// truth, and what is not.
package oracle

import (
	"fmt"
	"slices"
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/store"
	"relight/internal/world"
)

// Violation is a broken promise.
type Violation = world.Violation

// Call is one call to a provider.
type Call struct {
	At time.Time
	// By is the controller's process, Authority what it held when it sent.
	By        string
	Authority fleet.Authority
	Call      provider.Call
	// Out and Err are the answer; Sent calls have none yet.
	Out provider.Outcome
	Err error
	// Replayed is true if the executor answered from memory, without an effect.
	Replayed bool
}

// Intent is what people declared: it is the oracle's own reading of the specs.
type Intent struct {
	Servers []fleet.Server
	Sites   []fleet.Site
	Fleet   fleet.Policy
}

// Act is what a person did, with what it was about.
type Act struct {
	At   time.Time
	By   string
	Verb string
	// Server or Scope is what it was about, Until the end of a window.
	Server string
	Scope  string
	// Host is where a move was to go, or "back".
	Host  string
	Epoch fleet.Epoch
	Until time.Time
	// Plan is what an approval or denial is about, as the store has it.
	Plan string
	// Accepted is false if the product refused it, or did not answer. Maybe is true
	// if nobody can tell whether it was taken: then nothing need be left of it.
	Accepted, Maybe bool
}

// Around is what the oracle asks of the one who drives the world.
type Around struct {
	// Loss is the share of a host's datagrams that get lost.
	Loss func(host string) float64
	// Reigns reports whether a controller is up with a term, and not frozen.
	Reigns func() bool
	// Cloud is true where a platform keeps the records of its machines.
	Cloud bool
}

// Oracle watches one run.
type Oracle struct {
	w       *world.World
	found   []Violation
	intent  Intent
	around  Around
	servers map[string]*server
	names   []string
	hosts   map[string]*host
	sites   map[string]fleet.Site
	// dirty are the servers to look at again, in the order of their changes.
	dirty []string
	// moved is true if a host has changed.
	moved  bool
	ledger ledger
	people people
	// troubled counts the faults in force by class; disturbed is when one began or
	// ended last that concerns controllers, their store or their calls.
	troubled  map[string]int
	disturbed time.Time
	// stalled is when a fault of a controller ended, zero if none did.
	stalled time.Time
	// arrays is when an array last came or went.
	arrays time.Time
	// goesOn is when a person last let a storm go on.
	goesOn time.Time
	// declared is when people last changed what is declared, zero if they never did.
	declared time.Time
	// budgeted is when they last changed the fleet's budget.
	budgeted time.Time
	// rewound is when the store was set back last; zero if it never was.
	rewound  time.Time
	staleEnd time.Time
	// deafAt is when every host was out of sight last.
	deafAt time.Time

	executors map[world.Executor]fleet.Term
	sent      map[string]*sending
	due       []expectation
	begun     []begun
}

// New returns an oracle over a world. It becomes the world's watcher.
func New(w *world.World) *Oracle {
	o := &Oracle{
		w: w, servers: map[string]*server{}, hosts: map[string]*host{}, sites: map[string]fleet.Site{},
		troubled: map[string]int{}, executors: map[world.Executor]fleet.Term{}, sent: map[string]*sending{},
		moved: true, ledger: newLedger(), people: newPeople(), disturbed: w.Now(),
	}
	o.around = Around{Loss: func(string) float64 { return 0 }, Reigns: func() bool { return true }}
	w.Watch(o.saw)
	return o
}

// Surround tells how to ask the one who drives the world.
func (o *Oracle) Surround(a Around) { o.around = a }

// Declare tells what people have declared, whenever that changes.
func (o *Oracle) Declare(in Intent) {
	if len(o.servers) > 0 {
		o.declared = o.w.Now()
	}
	if in.Fleet.Spec.Budget != o.intent.Fleet.Spec.Budget {
		o.budgeted = o.w.Now()
	}
	o.intent = in
	o.forgotten(in)
	clear(o.sites)
	for _, s := range in.Sites {
		o.sites[s.Name] = s
	}
	for _, s := range in.Servers {
		if o.servers[s.Name] == nil {
			o.servers[s.Name] = &server{name: s.Name, known: map[*world.Instance]*instance{}, tokens: map[string]string{}}
			o.names = append(o.names, s.Name)
		}
		o.servers[s.Name].spec = s
		o.soil(s.Name)
	}
	slices.Sort(o.names)
}

// forgotten notes which servers people have deleted. What is left of one in the world is
// no longer anybody's promise; if it is declared once more it is the same server.
func (o *Oracle) forgotten(in Intent) {
	for _, name := range o.names {
		s := o.servers[name]
		was := s.gone
		s.gone = !slices.ContainsFunc(in.Servers, func(d fleet.Server) bool { return d.Name == name })
		if was && !s.gone {
			s.backAt = o.w.Now()
		}
		if s.gone {
			s.asked, s.held = false, told{}
			delete(o.people.paused, name)
			delete(o.people.goals, name)
		}
	}
}

// Sent is told of each call before it goes out.
func (o *Oracle) Sent(c Call) {
	s := o.servers[c.Call.Step.Server]
	if s == nil || !c.Call.Step.Kind.Destructive() {
		return
	}
	o.settle()
	o.sentWithAuthority(c)
	o.sentWithClaim(c, s)
	o.sentAfterEntry(c)
	o.sentWithConsent(c, s)
	o.sentForAReason(c, s)
	o.sentForPlace(c, s)
	o.sentWithinLimits(c, s)
	o.sentOnce(c, s)
	s.noteSent(c)
}

// Executed is told of each call when its executor has dealt with it, also of those
// that come late or twice, before the one who sent it hears of it.
func (o *Oracle) Executed(c Call) {
	s := o.servers[c.Call.Step.Server]
	if s == nil || !c.Call.Step.Kind.Destructive() || c.Err != nil || c.Replayed {
		return
	}
	o.acceptedTerm(c)
	o.acceptedEvidence(s, c.Out.Evidence)
	if c.Call.Step.Kind.NeedsProof() {
		o.acceptedProof(c, s)
		o.acceptedOnce(c, s)
		o.acceptedPlace(c, s)
		o.acceptedGoal(c, s)
	}
	s.noteExecuted(c)
}

// Called is told of each answer as the controller gets it.
func (o *Oracle) Called(c Call) {
	if s := o.servers[c.Call.Step.Server]; s != nil && c.Call.Step.Kind.Destructive() {
		o.answered(c)
	}
}

// Committed is told of each transaction that the store has made durable, in order,
// and of when it was given to the store.
func (o *Oracle) Committed(txn store.Txn, written time.Time) { o.commit(txn, written) }

// Told is told of each event that a controller has told its readers.
func (o *Oracle) Told(by string, ev event.Event) {
	o.toldIsDurable(by, ev)
	s := o.servers[ev.Server]
	if s == nil {
		return
	}
	if ev.Kind == event.RecoveryHealed {
		o.toldHealed(s, ev)
	}
}

// Acted is told of each act of a person, when the product has answered it.
func (o *Oracle) Acted(a Act) { o.act(a) }

// Trouble is told when a fault begins or ends; one that is over at once does both.
func (o *Oracle) Trouble(class string, began bool) {
	if began {
		o.troubled[class]++
	} else {
		o.troubled[class]--
	}
	switch class {
	case "controller", "store", "api":
		o.Disturbed()
		if class == "controller" && !began {
			o.stalled = o.w.Now()
		}
	case "stale":
		o.staleEnd = o.w.Now()
	default:
		o.moved = true
		for _, name := range o.names {
			o.soil(name) // the loss of datagrams leaves no trace in the world
		}
	}
}

// Disturbed is told when a controller starts, ends or loses its term.
func (o *Oracle) Disturbed() { o.disturbed = o.w.Now() }

// Check returns every violation so far. It is called after each event of the
// world and costs as much as has changed.
func (o *Oracle) Check() []Violation {
	o.settle()
	o.meetDeadlines()
	known := o.w.Check()
	if len(o.found) == 0 {
		return known
	}
	return append(slices.Clip(o.found), known...)
}

// settle looks at every server that something has happened to.
func (o *Oracle) settle() {
	if o.moved {
		o.moved = false
		deaf := o.deaf()
		for _, name := range o.w.Hosts() {
			o.hostOf(name)
		}
		if deaf || o.deaf() {
			o.deafAt = o.w.Now()
		}
	}
	for n := 0; n < len(o.dirty); n++ {
		s := o.servers[o.dirty[n]]
		s.dirty = false
		o.look(s)
	}
	o.dirty = o.dirty[:0]
}

// soil marks a server to be looked at.
func (o *Oracle) soil(name string) {
	if s := o.servers[name]; s != nil && !s.dirty {
		s.dirty = true
		o.dirty = append(o.dirty, name)
	}
}

// saw is the world's watcher: it must not call back, so it only notes who changed.
func (o *Oracle) saw(e world.Event) {
	if e.Server != "" {
		o.soil(e.Server)
		return
	}
	if e.What == "array" {
		o.arrays = e.At
	}
	if len(e.What) > 4 && e.What[:4] == "host" {
		o.moved = true
		for _, name := range o.names {
			o.soil(name)
		}
	}
}

// Violate records a broken promise, once.
func (o *Oracle) Violate(invariant, object, format string, args ...any) {
	v := Violation{Invariant: invariant, Object: object, Detail: fmt.Sprintf(format, args...), At: o.w.Now()}
	for _, f := range o.found {
		if f.Invariant == v.Invariant && f.Object == v.Object && f.Detail == v.Detail {
			return
		}
	}
	o.found = append(o.found, v)
}
