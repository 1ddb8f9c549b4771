package array

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"relight/internal/core/fleet"
)

// Plan says which epoch to fence and how long to try.
type Plan struct {
	Ref
	// Array is for evidence.
	Array string
	// Volumes are what the evidence is about: all that the epoch had from this array.
	Volumes []string
	// Every is how long to wait before the second look; the wait doubles with each
	// further one, up to sixteen times as long. Within is how long in all: past it the
	// fence has failed, and nothing may start.
	Every, Within time.Duration
	// Local: the array is driven on the machine that serves its portals; see Local.
	Local bool
	// Offline allows the last resort, nil forbids it.
	Offline *Offline
	// Keys: the array may have a second line, from which the epoch's keys are to be taken.
	Keys bool
}

// Offline is the last resort of a fence whose sessions stay listed after they were
// killed: their LUNs are taken off line, so that they can do nothing.
type Offline struct {
	// LUNs are the epoch's on this array.
	LUNs []string
	// After is for how long the sessions are given to go by themselves.
	After time.Duration
}

// Source is what the fence asks and believes.
type Source string

// The sources, in the order in which they are asked. Each undoes what would make
// the next one's answer worthless: sessions that are killed before the map is gone
// log in again; an empty list before the last command has landed is no empty list;
// a login that had passed the map becomes a session minutes after the list was
// empty, unless the map is closed for good. The login is tried before that: an
// array without any map left may not even answer. Keys come before the map, as an array
// may forget them with it; they prove nothing, and the fence goes on without an answer.
const (
	SourceJournal  Source = "journal"
	SourceKeys     Source = "reservation keys"
	SourceUnmap    Source = "unmap"
	SourceSessions Source = "sessions"
	SourceKill     Source = "kill"
	SourceOffline  Source = "LUNs off line"
	SourceLogin    Source = "login"
	SourceClose    Source = "close"
	SourceRelist   Source = "sessions after close"
	SourceMaps     Source = "maps"
	sourceNone     Source = ""
)

// LoginAnswer is what came of trying to log in as the fenced epoch.
type LoginAnswer int

// The answers.
const (
	// LoginUnknown: nobody tried, or the portal did not answer.
	LoginUnknown LoginAnswer = iota
	// LoginRefused: the array itself said no.
	LoginRefused
	// LoginLetIn: the array let it in.
	LoginLetIn
	// LoginNoWay: nobody could connect to a portal.
	LoginNoWay
)

// ErrNotJournaled is the cause of a fence that was asked for before the journal
// says so: the array would be the only one to know.
var ErrNotJournaled = errors.New("the journal does not call the epoch fenced")

// FenceError is a fence that was not confirmed. Nothing may start.
type FenceError struct {
	Ref
	Array string
	// Source is what did not confirm it, Try what a person or another rung can do.
	Source Source
	Try    string
	Err    error
}

// Error implements error.
func (e *FenceError) Error() string {
	return fmt.Sprintf("%s epoch %d is not fenced on array %s: %s: %v; %s", e.Server, e.Epoch, e.Array, e.Source, e.Err, e.Try)
}

// Unwrap returns the cause.
func (e *FenceError) Unwrap() error { return e.Err }

// Effect is what the fence wants done next: ask Source and hand the answer to
// Next; or, with no source, wait until Until, or stop.
type Effect struct {
	Source   Source
	Sessions []Session // what to kill, for SourceKill
	Until    time.Time
	// Evidence is set once the fence stands, Failed once it has failed.
	Evidence []fleet.Evidence
	Failed   *FenceError
}

// Over reports whether the fence has come to its end.
func (e Effect) Over() bool { return len(e.Evidence) > 0 || e.Failed != nil }

// Answer is what a source said; the zero Answer is right after a wait. Err must be
// set whenever a source could not be asked: an answer that is missing is no "none".
type Answer struct {
	Err      error
	Fenced   fleet.Epoch // SourceJournal
	Taken    int         // SourceKeys: how many were taken away
	Sessions []Session   // SourceSessions, SourceRelist
	Login    LoginAnswer // SourceLogin
	Maps     []Mapped    // SourceMaps
}

// loginTries is how often an answer to the login is hoped for. The portal may be
// out of reach from here for good; then the other sources stand alone.
const loginTries = 3

// Fence is the storage fence as a step machine: a value, no clock, no I/O.
type Fence struct {
	plan    Plan
	ends    time.Time
	resort  time.Time // from when on the LUNs may be taken off line
	offline bool      // they were, and no command was inside
	left    int       // sessions that were listed last
	at      Source    // the source that is asked now
	waiting bool
	last    error // why at was not enough
	killed  []string
	tries   int
	looks   int // that were not enough
	login   LoginAnswer
	keys    string    // what came of the second line
	seen    time.Time // when the last empty list was asked for
}

// Begin starts a fence. The caller has journaled that the epoch is fenced.
func Begin(p Plan, now time.Time) (Fence, Effect) {
	f := Fence{plan: p, ends: now.Add(p.Within)}
	if p.Offline != nil {
		f.resort = now.Add(p.Offline.After)
	}
	return f.ask(SourceJournal, now)
}

// Next takes the answer to the last effect and says what is next.
func (f Fence) Next(now time.Time, a Answer) (Fence, Effect) {
	if f.waiting {
		f.waiting = false
		return f.ask(f.at, now)
	}
	if a.Err != nil && !f.answers(a.Err, now) {
		return f.again(f.at, a.Err, now)
	}
	switch f.at {
	case SourceJournal:
		if a.Fenced < f.plan.Epoch {
			return f.fail(fmt.Errorf("%w: fenced up to %d", ErrNotJournaled, a.Fenced))
		}
		if f.plan.Keys {
			return f.ask(SourceKeys, now)
		}
		return f.ask(SourceUnmap, now)
	case SourceKeys:
		if a.Err != nil {
			f.keys = fmt.Sprintf("its reservation keys could not be taken away (%v)", a.Err)
		} else if a.Taken > 0 {
			f.keys = "reservation keys up to its own preempted, and the keys read again"
		}
		return f.ask(SourceUnmap, now)
	case SourceUnmap:
		return f.ask(SourceSessions, now)
	case SourceSessions:
		if len(a.Sessions) > 0 {
			return f.kill(a.Sessions, now)
		}
		if f.login == LoginRefused { // before a session turned up again
			return f.ask(SourceClose, now)
		}
		return f.ask(SourceLogin, now)
	case SourceKill:
		if f.lastResort(now) {
			return f.ask(SourceOffline, now)
		}
		return f.again(SourceSessions, fmt.Errorf("%d sessions were killed and may not be gone", len(f.killed)), now)
	case SourceOffline:
		if a.Err != nil {
			return f.again(SourceSessions, fmt.Errorf("the LUNs cannot be taken off line: %w", a.Err), now)
		}
		f.offline = true
		if f.login == LoginRefused {
			return f.ask(SourceClose, now)
		}
		return f.ask(SourceLogin, now)
	case SourceClose:
		if a.Err != nil && !f.offline {
			return f.again(SourceSessions, a.Err, now)
		}
		return f.ask(SourceRelist, now)
	case SourceRelist:
		f.left = len(a.Sessions)
		if len(a.Sessions) > 0 && !f.offline {
			return f.again(SourceUnmap, fmt.Errorf("%d sessions are listed after the map was closed", len(a.Sessions)), now)
		}
		return f.ask(SourceMaps, now)
	case SourceLogin:
		return f.tried(a, now)
	default:
		return f.read(a, now)
	}
}

// answers reports that an error of the source that is asked says something, or that the
// fence can do without its answer. No error of a list is ever read as "none".
func (f Fence) answers(err error, now time.Time) bool {
	switch f.at {
	case SourceClose:
		return errors.Is(err, ErrBusy)
	case SourceKill: // an array that ends no session still takes LUNs off line
		return f.lastResort(now)
	default:
		return f.at == SourceKeys || f.at == SourceLogin || f.at == SourceOffline
	}
}

// lastResort reports that sessions had the time that they are given.
func (f Fence) lastResort(now time.Time) bool {
	return f.plan.Offline != nil && !now.Before(f.resort)
}

func (f Fence) ask(s Source, now time.Time) (Fence, Effect) {
	if now.After(f.ends) {
		if f.last == nil {
			f.last = errors.New("not asked in time")
		}
		return f.fail(f.last)
	}
	switch s {
	case SourceRelist:
		f.seen = now
	case SourceUnmap:
		f.offline = false // from here on everything counts anew
	default: // changes nothing that is known
	}
	f.at = s
	return f, Effect{Source: s}
}

// again goes on at a source after a pause. What stays in the way is the reason of
// a failure later.
func (f Fence) again(s Source, why error, now time.Time) (Fence, Effect) {
	f.last, f.waiting = why, true
	f.at = s
	pause := f.plan.Every << min(f.looks, 4)
	f.looks++
	return f, Effect{Until: now.Add(pause)}
}

func (f Fence) kill(sessions []Session, now time.Time) (Fence, Effect) {
	f.killed = slices.Clone(f.killed)
	for _, s := range sessions {
		if !slices.Contains(f.killed, s.ID) {
			f.killed = append(f.killed, s.ID)
		}
	}
	g, e := f.ask(SourceKill, now)
	e.Sessions = sessions
	return g, e
}

func (f Fence) tried(a Answer, now time.Time) (Fence, Effect) {
	f.login = a.Login
	switch {
	case a.Login == LoginLetIn:
		return f.again(SourceUnmap, errors.New("the array let the fenced initiator log in"), now)
	case a.Login == LoginNoWay && f.plan.Local:
		return f.again(SourceLogin, a.Err, now)
	case a.Login != LoginRefused && a.Err != nil && f.tries+1 < loginTries:
		f.tries++
		return f.again(SourceLogin, a.Err, now)
	}
	return f.ask(SourceClose, now)
}

func (f Fence) read(a Answer, now time.Time) (Fence, Effect) {
	for _, m := range a.Maps {
		if m.Epoch <= f.plan.Epoch && (!m.Offline || f.plan.Offline == nil) {
			return f.again(SourceUnmap, fmt.Errorf("epoch %d still has a map", m.Epoch), now)
		}
	}
	detail := []string{"initiator out of the map"}
	if f.keys != "" {
		detail = []string{f.keys, "initiator out of the map"}
	}
	if len(f.killed) > 0 {
		detail = append(detail, fmt.Sprintf("%d sessions killed", len(f.killed)))
	}
	if f.login == LoginRefused {
		detail = append(detail, "login refused")
	} else {
		detail = append(detail, "login not answered")
	}
	if f.left == 0 {
		detail = append(detail, "map closed", "no session listed")
	} else {
		detail = append(detail, "LUNs off line with no command inside", fmt.Sprintf("%d sessions still listed", f.left))
	}
	var out []fleet.Evidence
	for _, v := range f.plan.Volumes {
		out = append(out, fleet.Evidence{
			Method: fleet.InitiatorRemoved, Server: f.plan.Server, Epoch: f.plan.Epoch, Volume: v,
			By: "array " + f.plan.Array, At: f.seen, Detail: strings.Join(detail, ", "), Offline: f.left > 0,
		})
	}
	if len(out) == 0 {
		return f.fail(errors.New("the plan names no volume that the evidence could be about"))
	}
	return f, Effect{Evidence: out}
}

func (f Fence) fail(err error) (Fence, Effect) {
	return f, Effect{Failed: &FenceError{Ref: f.plan.Ref, Array: f.plan.Array, Source: f.at, Try: f.advice(), Err: err}}
}

// advice is what to try next where a source did not confirm.
func (f Fence) advice() string {
	switch f.at {
	case SourceJournal:
		return "journal the fence first"
	case SourceUnmap, SourceMaps:
		return "check the way to the array's management; else fence the host by power"
	case SourceLogin:
		if f.login == LoginNoWay {
			return "run the controller on the machine that serves the array's portal, for what it reads here may be another array's; else fence the host by power"
		}
		return "look for a rule on the array that lets any initiator in; else fence the host by power"
	case SourceOffline:
		return "look what holds a command up inside the array, or fence the host by power"
	default:
		if f.plan.Offline == nil {
			return "allow lunOffline: lastResort for the array, or fence the host by power"
		}
		return "look what holds a command up inside the array, or fence the host by power"
	}
}
