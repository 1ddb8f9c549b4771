package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/core/lease"
	"relight/internal/provider"
	"relight/internal/provider/onprem/link"
	"relight/internal/provider/onprem/power"
)

// inspectWithin bounds the look at a command's volumes after its effect.
const inspectWithin = 200 * time.Millisecond

// desk holds the commands that the agent has been handed, until their results are
// delivered.
type desk struct {
	mu sync.Mutex
	// hands has each command, true if it was handed out again meanwhile.
	hands map[hand]bool
	// turns let the commands of one server run one after the other.
	turns map[string]*turn
}

// hand is a command: by its token, and by what it asks for. A controller that gives one
// token to two requests must hear of it: were they one, the first one's result would be
// taken for the second's.
type hand struct{ id, content string }

func handOf(cmd link.Command) hand { return hand{cmd.ID, contentOf(cmd)} }

// turn is a lock that can be given up on.
type turn struct {
	sem   chan struct{}
	users int
}

func newDesk() *desk { return &desk{hands: map[hand]bool{}, turns: map[string]*turn{}} }

// begin reports whether the command is new. One that is here already is marked:
// its result may have gone to a controller that did not wait for it yet.
func (d *desk) begin(h hand) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, here := d.hands[h]; here {
		d.hands[h] = true
		return false
	}
	d.hands[h] = false
	return true
}

// end reports whether the command is done with; if not, its result is to be
// delivered once more.
func (d *desk) end(h hand) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hands[h] {
		d.hands[h] = false
		return false
	}
	delete(d.hands, h)
	return true
}

func (d *desk) knows() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]string, 0, len(d.hands))
	for h := range d.hands {
		out = append(out, h.id)
	}
	return out
}

// take waits for the server's turn; give gives it back.
func (d *desk) take(ctx context.Context, server string) (give func(), err error) {
	d.mu.Lock()
	t := d.turns[server]
	if t == nil {
		t = &turn{sem: make(chan struct{}, 1)}
		d.turns[server] = t
	}
	t.users++
	d.mu.Unlock()
	leave := func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(d.turns, server)
		}
	}
	select {
	case t.sem <- struct{}{}:
		return func() { <-t.sem; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// poll asks for work for as long as ctx lasts. It ends earlier only if the
// controller refuses this host for good: nobody can help that but a person, and
// the instances run on.
func (a *Agent) poll(ctx context.Context) {
	wait := newBackOff()
	trouble := trouble{log: a.opt.Log, what: "asking the controller for work"}
	var look uint64
	for ctx.Err() == nil {
		var reply link.WorkReply
		w := a.memory.watched()
		err := a.channel.work(ctx, link.Work{
			V: link.Version, Knows: a.desk.knows(), Watch: w.Version, Controller: w.Controller, Look: look,
		}, &reply)
		if trouble.note(ctx, err) {
			look = 0 // another controller may answer next and count anew
			a.setLook(0)
			wait.pause(ctx)
			continue
		}
		wait.reset()
		if reply.Watch != nil {
			a.takeWatch(reply.Watch)
		}
		for _, cmd := range reply.Commands {
			if a.desk.begin(handOf(cmd)) {
				a.tasks.Go(func() { a.carryOut(ctx, cmd) })
			}
		}
		if reply.Look > look {
			look = reply.Look
			a.setLook(look)
			a.tell()
		}
	}
}

// carryOut does a command and delivers its result, however often that takes.
func (a *Agent) carryOut(ctx context.Context, cmd link.Command) {
	r := a.execute(ctx, cmd)
	a.inspectFor(ctx, cmd)
	wait := newBackOff()
	for {
		report := a.report()
		r.Report = &report
		err := a.channel.send(ctx, link.PathResult, r)
		if err != nil && !errors.Is(err, ErrRefused) && wait.pause(ctx) {
			continue
		}
		if a.desk.end(handOf(cmd)) || ctx.Err() != nil {
			return
		}
	}
}

// inspectFor looks at the command's volumes, so that the report that goes along
// with its result shows the effect. It does not wait long for them.
func (a *Agent) inspectFor(ctx context.Context, cmd link.Command) {
	ctx, cancel := context.WithTimeout(ctx, inspectWithin)
	defer cancel()
	for _, v := range cmd.Volumes {
		a.inspect(ctx, v.Path)
	}
}

// execute does a command, once for each token.
func (a *Agent) execute(ctx context.Context, cmd link.Command) link.Result {
	ctx, cancel := context.WithTimeout(ctx, cmd.Within.Std())
	defer cancel()
	refuse := func(class provider.Class, err error) link.Result {
		return link.Result{V: link.Version, ID: cmd.ID, Class: class, Error: link.Cut(err.Error())}
	}
	give, err := a.desk.take(ctx, cmd.Step.Server)
	if err != nil {
		return refuse(provider.Retry, fmt.Errorf("another step of the server is under way: %w", err))
	}
	defer give()
	// The term comes before the memory of outcomes: a controller that was replaced
	// gets nothing done and is told nothing.
	if err := a.memory.admit(cmd, a.lease().Term); err != nil {
		if errors.Is(err, lease.ErrOldTerm) || errors.Is(err, lease.ErrOldEpoch) {
			return refuse(provider.Refused, err)
		}
		return refuse(provider.Retry, err)
	}
	switch r, done, err := a.memory.known(cmd); {
	case err != nil:
		return refuse(provider.Conflict, err)
	case done:
		return r
	}
	if err := a.room(cmd); err != nil {
		return refuse(provider.Capacity, err)
	}
	if cmd.Step.Kind == fleet.StepPowerOff {
		return switchOff(ctx, cmd)
	}
	said, err := a.quiesce(ctx, cmd)
	if err != nil {
		return refuse(provider.Refused, err)
	}
	effect, err := a.opt.Driver.Do(ctx, cmd)
	if err != nil {
		a.thaw(cmd)
		r := refuse("", err)
		r.Class, r.MayHaveHappened = provider.ClassOf(err)
		a.opt.Log.Warn("step failed", "step", cmd.Step.Kind, "server", cmd.Step.Server, "epoch", cmd.Step.Epoch, "error", err)
		return r
	}
	a.opt.Log.Info("step done", "step", cmd.Step.Kind, "server", cmd.Step.Server, "epoch", cmd.Step.Epoch)
	// Only a stop is quiesced, and what a driver notes is of launches.
	r := link.Result{V: link.Version, ID: cmd.ID, Evidence: effect.Evidence, Detail: link.Cut(effect.Detail), Note: link.Cut(cmp.Or(said, effect.Note))}
	if err := a.memory.done(cmd, r); err != nil {
		// The driver is idempotent by itself, so a lost memory costs only speed.
		a.opt.Log.Error("outcome not remembered", "error", err)
	}
	return r
}

// switchOff reads the power state anew each time: that evidence is perishable, so
// its outcome is never remembered.
func switchOff(ctx context.Context, cmd link.Command) link.Result {
	r := link.Result{V: link.Version, ID: cmd.ID}
	if cmd.Power == nil {
		r.Class, r.Error = provider.Permanent, "the command names no power device"
		return r
	}
	said, err := power.Switch(ctx, *cmd.Power)
	if err != nil {
		r.Class, r.Error, r.MayHaveHappened = provider.Retry, link.Cut(err.Error()), true
		return r
	}
	r.Evidence = []fleet.Evidence{{
		Method: fleet.PoweredOff, Server: cmd.Step.Server, Epoch: cmd.Step.Epoch, Host: cmd.Step.Host, Detail: link.Cut(said),
	}}
	return r
}

// room refuses to start what the host cannot carry.
func (a *Agent) room(cmd link.Command) error {
	if cmd.Step.Kind != fleet.StepAttach && cmd.Step.Kind != fleet.StepLaunch || a.opt.Units == 0 {
		return nil
	}
	used := cmd.Units
	for _, i := range a.opt.Driver.Instances() {
		if i.Server != cmd.Step.Server {
			used += a.unitsOf(i)
		}
	}
	for _, w := range a.warm() {
		if w.Server != cmd.Step.Server { // its own gives it its room
			used += w.Units
		}
	}
	if used > a.opt.Units {
		return fmt.Errorf("it would carry %d units of %d", used, a.opt.Units)
	}
	return nil
}

// unitsOf is what an instance takes of the host. One that lost its keeper and of
// which nothing is seen takes nothing: that is no proof of its death, but a host
// that came back after a crash has room again.
func (a *Agent) unitsOf(i Instance) int {
	if !i.State.TakesRoom(i.Alive) {
		return 0
	}
	return max(a.memory.obeyed().Given[i.Server].Units, 1)
}

// reports sends a report whenever something has changed, and each ReportEvery.
func (a *Agent) reports(ctx context.Context) {
	tick := time.NewTicker(a.opt.ReportEvery)
	defer tick.Stop()
	wait := newBackOff()
	trouble := trouble{log: a.opt.Log, what: "reporting to the controller"}
	for {
		err := a.channel.send(ctx, link.PathReport, a.report())
		if trouble.note(ctx, err) {
			if !wait.pause(ctx) {
				return
			}
			continue
		}
		wait.reset()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-a.news:
		}
	}
}
