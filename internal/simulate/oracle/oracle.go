// Package oracle holds a simulated run against the promises of the project. It
// looks at the world's truth, at the calls as their executors got them and at the
// bytes that the store acknowledged; it shares no rule with the code it checks.
package oracle

import (
	"fmt"
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/store"
	"relight/internal/world"
)

// Violation is a broken promise.
type Violation = world.Violation

// Call is one call as its executor got it.
type Call struct {
	At time.Time
	// By is the controller's process, Authority what it held when it sent.
	By        string
	Authority fleet.Authority
	Call      provider.Call
	Out       provider.Outcome
	Err       error
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
	Epoch  fleet.Epoch
	Until  time.Time
	// Accepted is false if the product refused it.
	Accepted bool
}

// Oracle watches one run.
type Oracle struct {
	w      *world.World
	found  []Violation
	intent Intent
}

// New returns an oracle over a world.
func New(w *world.World) *Oracle { return &Oracle{w: w} }

// Declare tells what people have declared, whenever that changes.
func (o *Oracle) Declare(in Intent) { o.intent = in }

// Called is told of each call to a provider.
func (o *Oracle) Called(Call) {}

// Committed is told of each transaction that the store has made durable, in order.
func (o *Oracle) Committed(store.Txn) {}

// Told is told of each event that a controller has told its readers.
func (o *Oracle) Told(string, event.Event) {}

// Acted is told of each act of a person.
func (o *Oracle) Acted(Act) {}

// Check returns every violation so far. It is called after each event of the
// world and costs as much as has changed.
func (o *Oracle) Check() []Violation {
	return append(o.found, o.w.Check()...)
}

// Rest checks what must hold once all faults were mended and time was given.
func (o *Oracle) Rest(current map[string]fleet.Epoch) {
	o.found = append(o.found, o.w.Leaks(current)...)
}

// Violate records a broken promise.
func (o *Oracle) Violate(invariant, object, format string, args ...any) {
	o.found = append(o.found, Violation{Invariant: invariant, Object: object, Detail: fmt.Sprintf(format, args...), At: o.w.Now()})
}
