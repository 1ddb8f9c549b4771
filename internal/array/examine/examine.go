// Package examine finds out what an array is worth before servers depend on it, on a
// scratch LUN: what its reservations stop, and whether what the storage fence says is
// so. It shuts out an epoch of its own that writes without pause, that holds a write
// back inside the array, and that has logged in half-way, and then looks whether
// anything of it lands.
package examine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"relight/internal/array"
	"relight/internal/array/iscsi"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

const (
	// Server is the name under which the examination has its maps.
	Server = "relight-probe"
	// LUN is the scratch LUN that it makes if none is named. It stays for the next
	// time: nothing of ours deletes a LUN.
	LUN = "relight-probe"
	// Bytes is the size of that LUN.
	Bytes = 16 << 20

	unit   = 1
	volume = "scratch"
	// cleanWithin bounds what is undone after an examination was cut short.
	cleanWithin = 20 * time.Second
	// resortAfter is for how long sessions that nobody ends are given to go.
	resortAfter = 500 * time.Millisecond
)

// Options are what an examination needs.
type Options struct {
	Array array.Array
	// Prefix is that of the epochs' IQNs.
	Prefix string
	// LUN is an empty one that somebody made for it; without a name, LUN is made.
	LUN string
	// Load is how many sessions write at once while the fence goes on. Watch is for how
	// long the LUN is watched after it, FenceWithin how long it may take.
	Load               int
	Watch, FenceWithin time.Duration
	// LastResort tries the fence once more as one whose sessions nobody can end, so that
	// the LUN must be taken off line.
	LastResort bool
	// Random makes the epochs' secrets.
	Random io.Reader
	Now    func() time.Time
	// Wait returns at the time, or with an error when the context ends.
	Wait func(ctx context.Context, until time.Time) error
}

// Report is what was found out.
type Report struct {
	LUN  string
	Made bool
	// Reservations is nil if they could not be tried; Trouble says why.
	Reservations *array.Reservations
	Trouble      string
	// Fence are the findings about the storage fence, in the order in which they were
	// made, Evidence what it handed out.
	Fence    []Finding
	Evidence []fleet.Evidence
}

// Finding is one thing that was tried with the fence.
type Finding struct {
	Name string
	// Holds: what the fence says is so. Unsure: nobody could tell.
	Holds, Unsure bool
	Detail        string
}

// examination is one run of it.
type examination struct {
	Options
	// fenced is what the journal would say.
	fenced fleet.Epoch
	// resort is set while sessions are tried that nobody ends.
	resort *array.Offline
	report Report
}

// unkillable is an array that ends no session.
type unkillable struct{ array.Array }

// Kill implements array.Array.
func (unkillable) Kill(context.Context, array.Session) error { return nil }

// Run examines an array. Its report is of use also with an error: the array could
// not be asked, or the LUN is none to write to; what was made on the array is undone
// then as far as it can be.
func Run(ctx context.Context, opt Options) (Report, error) {
	x, err := start(ctx, opt)
	if err != nil {
		return x.report, err
	}
	first, proof, err := x.begin(ctx)
	if err != nil {
		return x.report, err
	}
	used := first
	defer func() { x.clean(ctx, first, used) }()
	if proof, err = x.reservations(ctx, first, proof); err != nil {
		return x.report, err
	}
	used = first + 2
	proof, ok, err := x.trial(ctx, first+1, proof)
	if err == nil && ok && x.LastResort {
		used = first + 4
		x.resort = &array.Offline{LUNs: []string{x.LUN}, After: resortAfter}
		_, _, err = x.trial(ctx, first+3, proof)
		x.resort = nil
	}
	return x.report, err
}

// Reservations tries only what an array's reservations are worth: far quicker than Run.
func Reservations(ctx context.Context, opt Options) (array.Reservations, error) {
	x, err := start(ctx, opt)
	if err != nil {
		return array.Reservations{}, err
	}
	e, proof, err := x.begin(ctx)
	if err == nil {
		defer x.clean(ctx, e, e)
		_, err = x.reservations(ctx, e, proof)
	}
	if err == nil && x.report.Reservations == nil {
		err = errors.New(x.report.Trouble)
	}
	if err != nil {
		return array.Reservations{}, err
	}
	return *x.report.Reservations, nil
}

// start has the scratch LUN there.
func start(ctx context.Context, opt Options) (*examination, error) {
	x := &examination{Options: opt}
	if x.LUN == "" {
		x.LUN = LUN
	}
	x.report.LUN = x.LUN
	return x, x.lun(ctx, opt.LUN == "")
}

// Clash finds what must not be touched by an examination that writes to a LUN of an array:
// a server that is called as examinations are (volume is empty), or one that has the LUN.
func Clash(servers iter.Seq[fleet.Server], name, lun string) (server, volume string, found bool) {
	for s := range servers {
		if s.Name == Server {
			return s.Name, "", true
		}
		for _, v := range s.Spec.Identity.Volumes {
			if v.LUN != nil && v.LUN.Array == name && v.LUN.Name == lun {
				return s.Name, v.Name, true
			}
		}
	}
	return "", "", false
}

// clean shuts the epochs out that were used: what a run that was cut short leaves on the
// array would hold the LUN.
func (x *examination) clean(ctx context.Context, first, last fleet.Epoch) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanWithin)
	defer cancel()
	x.resort = nil
	for e := first; e <= last; e++ {
		_, _ = x.shutOut(ctx, e, iscsi.Config{})
	}
}

// lun has the scratch LUN there.
func (x *examination) lun(ctx context.Context, make bool) error {
	l, err := x.Array.LUN(ctx, x.LUN)
	if errors.Is(err, array.ErrNotFound) && make {
		l = array.LUN{Name: x.LUN, Bytes: Bytes}
		if err = x.Array.Create(ctx, l); err == nil {
			x.report.Made = true
		}
	}
	if err != nil {
		return fmt.Errorf("scratch LUN %s: %w", x.LUN, err)
	}
	if l.Bytes < needs {
		return fmt.Errorf("scratch LUN %s has %s, and %s are needed: %w", x.LUN, array.Size(l.Bytes), array.Size(needs), array.ErrInvalid)
	}
	return nil
}

// begin shuts out what an examination before left, and returns the epoch to begin
// with. Its number comes from the clock, so that none is used twice.
func (x *examination) begin(ctx context.Context) (fleet.Epoch, fence.Proof, error) {
	e := fleet.Epoch(max(x.Now().Unix(), 2))
	left, err := x.Array.Maps(ctx, Server)
	if err != nil {
		return 0, fence.Proof{}, fmt.Errorf("maps of %s: %w", Server, err)
	}
	for _, m := range left {
		e = max(e, m.Epoch+2)
		if _, err := x.shutOut(ctx, m.Epoch, iscsi.Config{}); err != nil {
			return 0, fence.Proof{}, fmt.Errorf("what an examination before left: %w", err)
		}
	}
	proof, err := x.prove(ctx, e-1, iscsi.Config{})
	return e, proof, err
}

// server is what a document would declare for the examination.
func (x *examination) server() fleet.Server {
	s := fleet.Server{Name: Server}
	s.Spec.Fence = fleet.FenceStorage
	s.Spec.Identity.Volumes = []fleet.Volume{{Name: volume, Reach: fleet.ReachArray, LUN: &fleet.LUN{Array: x.Array.Name(), Name: x.LUN, Unit: unit}}}
	return s
}

// prove shuts an epoch out and makes the proof for the next from the evidence, as a
// recovery would.
func (x *examination) prove(ctx context.Context, e fleet.Epoch, as iscsi.Config) (fence.Proof, error) {
	evidence, err := x.shutOut(ctx, e, as)
	if err != nil {
		return fence.Proof{}, err
	}
	return x.proofOf(e, evidence)
}

// proofOf makes a proof from the evidence of a fence.
func (x *examination) proofOf(e fleet.Epoch, evidence []fleet.Evidence) (fence.Proof, error) {
	proof, missing := fence.Prove(x.server(), e, "", evidence, x.Now())
	if len(missing) > 0 {
		return fence.Proof{}, fmt.Errorf("the fence's evidence proves nothing: %s", missing[0].Reason)
	}
	return proof, nil
}

// shutOut fences an epoch, trying to log in as it if that is told.
func (x *examination) shutOut(ctx context.Context, e fleet.Epoch, as iscsi.Config) ([]fleet.Evidence, error) {
	x.fenced = max(x.fenced, e)
	env := array.Env{
		Array: x.Array, Now: x.Now, Wait: x.Wait,
		Marks: func(context.Context, string) (fleet.Epoch, error) { return x.fenced, nil },
	}
	if as.Portal != "" {
		env.Login = array.TryLogin(array.Target{Portal: as.Portal, IQN: as.Target}, array.Map{Initiator: as.Initiator, User: as.User, Secret: as.Secret})
	}
	if x.resort != nil {
		env.Array = unkillable{x.Array}
	}
	return array.Run(ctx, env, array.Plan{
		Ref: array.Ref{Server: Server, Epoch: e}, Volumes: []string{volume}, Every: fenceEvery, Within: x.FenceWithin, Offline: x.resort,
	})
}

// letIn maps the LUN for an epoch and says as whom to log in.
func (x *examination) letIn(ctx context.Context, e fleet.Epoch, proof fence.Proof) (iscsi.Config, error) {
	m, err := array.NewMap(x.Prefix, array.Ref{Server: Server, Epoch: e}, map[int]string{unit: x.LUN}, x.Random)
	if err != nil {
		return iscsi.Config{}, err
	}
	t, err := x.Array.Map(ctx, m, proof)
	if err != nil {
		return iscsi.Config{}, err
	}
	return m.Config(t), nil
}

// reservations tries them as an epoch of its own, and shuts it out again.
func (x *examination) reservations(ctx context.Context, e fleet.Epoch, proof fence.Proof) (fence.Proof, error) {
	cfg, err := x.letIn(ctx, e, proof)
	if err != nil {
		return proof, err
	}
	if err := x.empty(ctx, cfg); err != nil {
		return proof, err
	}
	found, err := x.probe(ctx, cfg)
	if err != nil {
		if ctx.Err() != nil {
			return proof, err
		}
		x.report.Trouble = err.Error()
	} else {
		x.report.Reservations = &found
	}
	return x.prove(ctx, e, cfg)
}

// probe tries the reservations: as the holder against the epoch where the array has one,
// else with two sessions of the epoch.
func (x *examination) probe(ctx context.Context, cfg iscsi.Config) (array.Reservations, error) {
	holding, undo, err := x.holder(ctx, cfg)
	if err != nil {
		return array.Reservations{}, err
	}
	defer undo()
	var open []*iscsi.Session
	defer func() {
		for _, s := range open {
			_ = s.Close()
		}
	}()
	dial := func(ctx context.Context, cfg iscsi.Config) (*iscsi.Session, error) {
		s, err := iscsi.Dial(ctx, cfg)
		if err == nil {
			open = append(open, s)
		}
		return s, err
	}
	holder, err := dial(ctx, holding)
	if err != nil {
		return array.Reservations{}, err
	}
	cfg.ISID = [6]byte{0x80, 2, 'r', 'l', 0, 0}
	other, err := dial(ctx, cfg)
	if err != nil {
		return array.Reservations{}, err
	}
	return array.Probe(ctx, array.Probing{
		Holder: holder, Other: other, LUN: unit,
		Again: func(ctx context.Context) (iscsi.Path, error) {
			_ = other.Close()
			return dial(ctx, cfg)
		},
		Another: func(ctx context.Context) (iscsi.Path, error) {
			// It differs at the front: Linux's target compares four of the six bytes.
			cfg.ISID = [6]byte{0x80, 3, 'r', 'l', 0, 0}
			return dial(ctx, cfg)
		},
	})
}

// holder says as whom the probe holds reservations, and how to undo that.
func (x *examination) holder(ctx context.Context, cfg iscsi.Config) (iscsi.Config, func(), error) {
	k, ok := x.Array.(array.Reserver)
	if !ok {
		cfg.ISID = [6]byte{0x80, 1, 'r', 'l', 0, 0}
		return cfg, func() {}, nil
	}
	m, err := array.NewHolder(x.Prefix, Server, map[int]string{unit: x.LUN}, x.Random)
	if err != nil {
		return iscsi.Config{}, nil, err
	}
	if err := k.DropHolder(ctx, Server); err != nil { // one that was cut short left it, with another secret
		return iscsi.Config{}, nil, err
	}
	t, err := k.LetHolder(ctx, m)
	if err != nil {
		return iscsi.Config{}, nil, err
	}
	return m.Config(t), func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanWithin)
		defer cancel()
		_ = k.DropHolder(ctx, Server)
	}, nil
}

// empty refuses a LUN that holds anything where the examination writes.
func (x *examination) empty(ctx context.Context, cfg iscsi.Config) error {
	s, err := iscsi.Dial(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	size, err := iscsi.Capacity(ctx, s, unit)
	if err != nil {
		return err
	}
	u := iscsi.Unit{Ctx: ctx, Path: s, LUN: unit, Size: size}
	found, err := array.Scan(u, size)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		var zero bool
		if zero, err = zeroes(u); err == nil && !zero {
			found = []string{"data of an unknown kind"}
		}
	}
	if err == nil && len(found) > 0 {
		err = fmt.Errorf("LUN %s holds %v and is not written to; name an empty one, or empty it if it is an examination's own: %w", x.LUN, found, array.ErrConflict)
	}
	return err
}
