package san

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"relight/internal/array"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

const (
	// askWithin bounds the first question to an array, before anything is done to it.
	askWithin = 5 * time.Second
	// shutEvery is the first pause between two looks of a fence: most sessions are gone
	// at once after their kill.
	shutEvery = 20 * time.Millisecond
	// fenceWithin bounds a fence whose step has no time of its own.
	fenceWithin = 10 * time.Second
	// shutSpare is what a fence leaves of its step's time, for its answer.
	shutSpare = time.Second
)

// LUNOf returns the LUN that a call is about.
func LUNOf(call provider.Call) (fleet.Volume, bool) {
	for _, v := range call.Server.Spec.Identity.Volumes {
		if v.Name == call.Step.Object.Volume && v.Name != "" && v.LUN != nil {
			return v, true
		}
	}
	return fleet.Volume{}, false
}

// Do carries out a step on a LUN: from here, through no host. The caller has checked the
// call's proof and term; vol is what LUNOf returned.
func (a *Arrays) Do(ctx context.Context, call provider.Call, vol fleet.Volume) (provider.Outcome, error) {
	n, err := a.of(vol)
	if err != nil {
		return provider.Outcome{}, provider.Errorf(provider.Permanent, call, "%w", err)
	}
	// A question first: an array that cannot be asked has had nothing done to it, and
	// a server that comes back meanwhile may go on.
	asking, cancel := context.WithTimeout(ctx, askWithin)
	maps, err := n.bare.Maps(asking, call.Step.Server)
	cancel()
	if err != nil {
		return provider.Outcome{}, provider.Errorf(provider.Retry, call, "array %s %w: %w", n.decl.Name, provider.ErrAway, err)
	}
	defer func() {
		n.did(call.Step.Server, a.opt.Now())
		a.wake(call.Step.Server)
	}()
	switch call.Step.Kind {
	case fleet.StepAttach:
		return a.letIn(ctx, call, n, maps)
	case fleet.StepSnapshot:
		return a.snapshot(ctx, call, n, vol, maps)
	case fleet.StepRestore:
		return a.restore(ctx, call, n, vol, maps)
	case fleet.StepDrop:
		return a.drop(ctx, call, n, vol)
	default: // all else shuts the epoch out
	}
	evidence, err := a.shutOut(ctx, call, n, call.Step.Epoch, maps)
	if err != nil {
		var failed *array.FenceError
		may := !errors.As(err, &failed) || failed.Source != array.SourceJournal
		return provider.Outcome{}, &provider.Error{Class: provider.Retry, Op: string(call.Step.Kind), Object: provider.ObjectOf(call), MayHaveHappened: may, Err: err}
	}
	return provider.Outcome{Evidence: evidence, Detail: fmt.Sprintf("array %s lists no map and no session of epoch %d", n.decl.Name, call.Step.Epoch)}, nil
}

// shutOut fences an epoch on an array and returns the evidence about all its LUNs
// there. maps are what the array listed a moment ago.
func (a *Arrays) shutOut(ctx context.Context, call provider.Call, n *declared, epoch fleet.Epoch, maps []array.Mapped) ([]fleet.Evidence, error) {
	ref := array.Ref{Server: call.Step.Server, Epoch: epoch}
	_, volumes := unitsOn(call.Server, n.decl.Name)
	env := array.Env{
		Array: n.arr, Marks: a.opt.Fenced, Login: a.loginAs(call.Server, n, ref),
		Now: a.opt.Now, Wait: array.WaitBy(a.opt.Now),
	}
	patience := left(ctx) / 2
	if slices.ContainsFunc(maps, func(m array.Mapped) bool { return m.Epoch == epoch && m.Offline }) {
		patience = 0 // it is off line already, and its sessions had their time
	}
	_, local := n.bare.(array.Local)
	line, keys, _ := a.lineOf(n, call.Server) // the fence does not depend on it
	env.Line = line
	return array.Run(ctx, env, array.Plan{Ref: ref, Local: local, Keys: keys, Volumes: volumes, Every: shutEvery, Within: left(ctx), Offline: lastResort(call.Server, n, patience)})
}

// lastResort is what the array's declaration allows a fence as its last, or nil.
func lastResort(s fleet.Server, n *declared, after time.Duration) *array.Offline {
	if n.decl.LUNOffline != fleet.LUNOfflineLast {
		return nil
	}
	units, _ := unitsOn(s, n.decl.Name)
	resort := &array.Offline{After: after}
	resort.LUNs = slices.Sorted(maps.Values(units))
	return resort
}

// left is how long a fence may take of what the context has left.
func left(ctx context.Context) time.Duration {
	ends, ok := ctx.Deadline()
	if !ok {
		return fenceWithin
	}
	return max(time.Until(ends)-shutSpare, shutEvery)
}

// loginAs tries to log in as an epoch, through each portal; nil where nobody knows where
// it would. One that lets it in counts before all that refuse, and these before those
// that do not answer.
func (a *Arrays) loginAs(s fleet.Server, n *declared, ref array.Ref) func(context.Context) (array.LoginAnswer, error) {
	at, ok := n.bare.(array.Locator)
	if !ok {
		return nil
	}
	return func(ctx context.Context) (array.LoginAnswer, error) {
		target, err := at.Locate(ctx, ref)
		if err != nil {
			return array.LoginUnknown, err
		}
		units, _ := unitsOn(s, n.decl.Name)
		m, err := array.MapOf(a.opt.Key, n.decl, ref, units)
		if err != nil {
			return array.LoginUnknown, err
		}
		var (
			refused, reached bool
			silent           error
		)
		for _, portal := range append([]string{target.Portal}, n.decl.MorePortals...) {
			target.Portal = portal
			trying, cancel := context.WithTimeout(ctx, loginWithin)
			answer, err := array.TryLogin(target, m)(trying)
			cancel()
			switch answer {
			case array.LoginLetIn:
				return answer, nil
			case array.LoginRefused:
				refused = true
			default:
				reached = reached || answer == array.LoginUnknown
				silent = errors.Join(silent, err)
			}
		}
		if refused {
			return array.LoginRefused, nil
		}
		if reached {
			return array.LoginUnknown, silent
		}
		return array.LoginNoWay, silent
	}
}

// loginWithin bounds one try to log in: the portal may be out of reach from here.
const loginWithin = time.Second

// letIn maps a server's LUNs for a new epoch. Whatever older epoch is still listed is
// fenced first, even where its death is proved otherwise: its sessions may be alive on
// the array after its last process has ended. Until that is confirmed nothing of the
// new epoch is on the array.
func (a *Arrays) letIn(ctx context.Context, call provider.Call, n *declared, maps []array.Mapped) (provider.Outcome, error) {
	out, err := a.shutOlder(ctx, call, n, maps, call.Step.Epoch)
	if err != nil {
		return provider.Outcome{}, err
	}
	told, err := ensure(ctx, call, n)
	if err != nil {
		return out, err
	}
	e, word, err := a.lineAndMap(ctx, call, n)
	if err != nil {
		return out, withTold(err, told)
	}
	if word != "" {
		told = append(told, word)
	}
	out.Detail = fmt.Sprintf("array %s lets epoch %d in", n.decl.Name, call.Step.Epoch)
	if _, real := n.bare.(array.Locator); real && call.Step.Epoch == 1 {
		told = append(told, e.holds(ctx))
	}
	out.Note = strings.Join(told, "; ")
	return out, nil
}

// ensure has the server's LUNs on the array there, those of which the spec says the size:
// the step says whether what is missing may be made. Nothing is let in by it, so that what
// failed had no effect on the epoch, whatever was made.
func ensure(ctx context.Context, call provider.Call, n *declared) ([]string, error) {
	var luns []array.LUN
	for _, v := range call.Server.Spec.Identity.Volumes {
		if l := v.LUN; l != nil && l.Array == n.decl.Name && l.Size > 0 {
			luns = append(luns, array.LUN{Name: l.Name, Bytes: l.Bytes()})
		}
	}
	ref := array.Ref{Server: call.Step.Server, Epoch: call.Step.Epoch}
	told, err := array.Ensure(ctx, n.arr, ref, call.Proof, luns, call.Step.Create)
	if err != nil {
		class, _ := classify(err)
		return nil, provider.Errorf(class, call, "array %s: %w", n.decl.Name, err)
	}
	return told, nil
}

// withTold adds to an error what was made before it: it stays.
func withTold(err error, told []string) error {
	var e *provider.Error
	if len(told) == 0 || !errors.As(err, &e) {
		return err
	}
	with := *e
	with.Err = fmt.Errorf("%w; before that: %s", e.Err, strings.Join(told, "; "))
	return &with
}

// shutOlder fences whatever the array still lists of epochs before the given one.
func (a *Arrays) shutOlder(ctx context.Context, call provider.Call, n *declared, maps []array.Mapped, before fleet.Epoch) (provider.Outcome, error) {
	var out provider.Outcome
	slices.SortFunc(maps, func(a, b array.Mapped) int { return cmp.Compare(a.Epoch, b.Epoch) })
	for _, m := range maps {
		if m.Epoch >= before {
			continue
		}
		evidence, err := a.shutOut(ctx, call, n, m.Epoch, maps)
		if err != nil {
			return out, provider.Errorf(provider.Conflict, call, "%w", err)
		}
		out.Evidence = append(out.Evidence, evidence...)
	}
	return out, nil
}

// holds says what is on LUNs that are used for the first time. It refuses nothing:
// a server that is imported brings its data, and nothing of ours formats a LUN. But
// one that was named by mistake shows itself here.
func (e entry) holds(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	found, err := array.Contents(ctx, e.target, e.Map)
	if err != nil {
		return "what the LUNs hold could not be read from here: " + err.Error()
	}
	return e.Told(found)
}

// lookWithin bounds the look at fresh LUNs; the portal may be out of reach from here.
const lookWithin = 2 * time.Second

// entry is an epoch's map with the target that it leads to.
type entry struct {
	array.Map
	target array.Target
	// more are further portals of the target.
	more []string
}

// lineAndMap makes the epoch's map, or finds it made, behind the second line if there is to
// be one, and says what became of that.
func (a *Arrays) lineAndMap(ctx context.Context, call provider.Call, n *declared) (entry, string, error) {
	g, err := a.lower(ctx, call, n)
	if err != nil {
		return entry{}, "", classedMap(call, n, err)
	}
	e, err := a.mapFor(ctx, call, n)
	if err != nil {
		return e, "", err
	}
	if g, err = a.raise(ctx, n, g, e); err != nil {
		failed := classedMap(call, n, err)
		failed.MayHaveHappened = true // the map is made
		return e, "", failed
	}
	return e, g.told(e.Ref), nil
}

// mapFor makes the epoch's map, or finds it made.
func (a *Arrays) mapFor(ctx context.Context, call provider.Call, n *declared) (entry, error) {
	units, _ := unitsOn(call.Server, n.decl.Name)
	m, err := array.MapOf(a.opt.Key, n.decl, array.Ref{Server: call.Step.Server, Epoch: call.Step.Epoch}, units)
	if err != nil {
		return entry{}, provider.Errorf(provider.Permanent, call, "array %s: %w", n.decl.Name, err)
	}
	target, err := n.arr.Map(ctx, m, call.Proof)
	if err != nil {
		return entry{}, classedMap(call, n, err)
	}
	return entry{m, target, n.decl.MorePortals}, nil
}

// classedMap classes an array's error once, at this edge.
func classedMap(call provider.Call, n *declared, err error) *provider.Error {
	class, may := classify(err)
	e := provider.Errorf(class, call, "array %s: %w", n.decl.Name, err)
	e.MayHaveHappened = may
	return e
}

func classify(err error) (class provider.Class, mayHaveHappened bool) {
	return provider.Classify(err, []provider.ClassRow{
		{Is: array.ErrNoProof, Class: provider.Refused},
		{Is: array.ErrFenced, Class: provider.Refused},
		{Is: array.ErrHeld, Class: provider.Conflict},
		{Is: array.ErrBusy, Class: provider.Conflict},
		{Is: array.ErrMapped, Class: provider.Conflict},
		{Is: array.ErrDuplicate, Class: provider.Permanent},
		{Is: array.ErrShared, Class: provider.Conflict}, // whoever has it may take it away again
		{Is: array.ErrConflict, Class: provider.Permanent},
		{Is: array.ErrNotFound, Class: provider.Permanent},
		{Is: array.ErrInvalid, Class: provider.Permanent},
		{Is: array.ErrFull, Class: provider.Capacity},
	})
}

// disk is one of the epoch's LUNs.
func (e entry) disk(v fleet.Volume) Disk {
	return Disk{
		Volume: v.Name, Portal: e.target.Portal, Target: e.target.IQN, Unit: v.LUN.Unit,
		Initiator: e.Initiator, User: e.User, Secret: e.Secret, MorePortals: e.more,
	}
}

// Disk is a LUN as an epoch logs in to it.
type Disk struct {
	Volume string
	// Portal is address:port, Target the array's IQN, Unit the number there.
	Portal, Target string
	Unit           int
	// MorePortals are further ways to the same target.
	MorePortals []string
	// Initiator, User and Secret are the epoch's own (CHAP).
	Initiator, User, Secret string
}

// Disks tells where the LUNs of the call's epoch are and as whom to log in. It makes the
// epoch's maps, or finds them made.
func (a *Arrays) Disks(ctx context.Context, call provider.Call) ([]Disk, error) {
	return disksOf(call.Server, func(v fleet.Volume) (entry, error) {
		n, err := a.of(v)
		if err != nil {
			return entry{}, provider.Errorf(provider.Permanent, call, "%w", err)
		}
		e, _, err := a.lineAndMap(ctx, call, n)
		return e, err
	})
}

// disksOf are the server's LUNs, of which each array is asked once.
func disksOf(s fleet.Server, enter func(fleet.Volume) (entry, error)) ([]Disk, error) {
	entries := map[string]entry{}
	var out []Disk
	for _, v := range s.Spec.Identity.Volumes {
		if v.LUN == nil {
			continue
		}
		e, asked := entries[v.LUN.Array]
		if !asked {
			var err error
			if e, err = enter(v); err != nil {
				return nil, err
			}
			entries[v.LUN.Array] = e
		}
		out = append(out, e.disk(v))
	}
	return out, nil
}
