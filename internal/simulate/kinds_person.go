package simulate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
	"relight/internal/simulate/oracle"
	"relight/internal/store"
)

// errNobody means that no controller answers: the person tries again later, or
// gives up.
var errNobody = errors.New("no controller answers")

// acts makes a fault of what a person does through the interface. What the product
// refuses is no mistake of the scenario: the timeline says so.
func acts(about func(f Fault) oracle.Act, do func(ctx context.Context, b *brain, by string, f Fault) error) func(*engine, Fault) (func(), error) {
	return func(e *engine, f Fault) (func(), error) {
		b := e.reigning()
		err := errNobody
		if b != nil && !b.frozen {
			err = do(context.Background(), b, f.Object, f)
			b.failed(err)
		}
		if err != nil {
			e.line("refused", fmt.Sprintf("%s: %v", f.Words(), err))
		}
		act := about(f)
		if f.Verb == "maintains" {
			if d, bad := time.ParseDuration(f.Args[1]); bad == nil {
				act.Until = e.clock.Now().Add(d)
			}
		}
		act.At, act.By, act.Verb, act.Accepted = e.clock.Now(), f.Object, f.Verb, err == nil
		if errors.Is(err, store.ErrUnavailable) || errors.Is(err, errCrash) {
			// Nobody can tell whether it was taken: what allows may allow, and what
			// forbids may forbid nothing.
			act.Maybe = true
			act.Accepted = slices.Contains([]string{"approves", "confirms", "heals", "moves", "unfreezes", "resumes", "goes-on", "ends"}, f.Verb)
		}
		e.oracle.Acted(act)
		return nil, nil
	}
}

func aboutServer(f Fault) oracle.Act { return oracle.Act{Server: f.Args[0]} }
func aboutAll(Fault) oracle.Act      { return oracle.Act{} }

func aboutMove(f Fault) oracle.Act {
	return oracle.Act{Server: f.Args[0], Host: f.Args[1]}
}

func personKinds() []kind {
	one := func(verb, args string, least, most int, about func(Fault) oracle.Act, do func(context.Context, *brain, string, Fault) error) kind {
		return kind{class: "person", verb: verb, args: args, min: least, max: most, apply: acts(about, do)}
	}
	return []kind{
		one("freezes", "", 0, 0, aboutAll, func(ctx context.Context, b *brain, by string, _ Fault) error {
			_, err := b.solo.Backend.SetFreeze(ctx, by, "a look is needed")
			return err
		}),
		one("unfreezes", "", 0, 0, aboutAll, func(ctx context.Context, b *brain, by string, _ Fault) error {
			return b.solo.Backend.ClearFreeze(ctx, by)
		}),
		one("goes-on", "", 0, 0, aboutAll, goesOn),
		one("pauses", "SERVER", 1, 1, aboutServer, func(ctx context.Context, b *brain, by string, f Fault) error {
			_, err := b.solo.Backend.Pause(ctx, by, f.Args[0], "planned work")
			return err
		}),
		one("resumes", "SERVER", 1, 1, aboutServer, func(ctx context.Context, b *brain, by string, f Fault) error {
			return b.solo.Backend.Resume(ctx, by, f.Args[0])
		}),
		one("maintains", "fleet|server/NAME|site/NAME TIME", 2, 2, aboutScope, maintains),
		one("ends", "fleet|server/NAME|site/NAME", 1, 1, aboutScope, endsWindows),
		one("approves", "SERVER", 1, 1, aboutServer, answers(false)),
		one("denies", "SERVER", 1, 1, aboutServer, answers(true)),
		one("confirms", "SERVER", 1, 1, aboutServer, confirms),
		one("heals", "SERVER RUNG", 2, 2, aboutServer, func(ctx context.Context, b *brain, by string, f Fault) error {
			_, err := b.solo.Backend.Heal(ctx, by, f.Args[0], client.HealRequest{Rung: fleet.Rung(f.Args[1]), Reason: "a person asks"})
			return err
		}),
		{class: "person", verb: "moves", args: "SERVER HOST|elsewhere|back [snapshot]", min: 2, max: 3, apply: movesTo},
	}
}

func aboutScope(f Fault) oracle.Act {
	return oracle.Act{Scope: scopeOf(f.Args[0])}
}

// scopeOf turns fleet, server/NAME and site/NAME into a window's scope.
func scopeOf(word string) string {
	for _, kind := range []string{"server", "site"} {
		if len(word) > len(kind) && word[:len(kind)+1] == kind+"/" {
			return kind + " " + word[len(kind)+1:]
		}
	}
	return word
}

func maintains(ctx context.Context, b *brain, by string, f Fault) error {
	d, err := time.ParseDuration(f.Args[1])
	if err != nil {
		return err
	}
	_, err = b.solo.Backend.StartMaintenance(ctx, by, client.MaintenanceRequest{Scope: scopeOf(f.Args[0]), For: fleet.Duration(d), Reason: "planned work"})
	return err
}

// endsWindows ends all windows of a scope before their time.
func endsWindows(ctx context.Context, b *brain, by string, f Fault) error {
	all, err := b.solo.Backend.Maintenances(ctx)
	if err != nil {
		return err
	}
	ended := errors.New("there is no such window")
	for _, w := range all.Items {
		if w.Scope != scopeOf(f.Args[0]) || !w.Covers(b.Now()) {
			continue
		}
		if ended = b.solo.Backend.EndMaintenance(ctx, by, w.ID); ended != nil {
			break
		}
	}
	return ended
}

// movesTo has the person look where the server runs, if it is to be moved elsewhere: to
// the next host that reaches its volumes.
func movesTo(e *engine, f Fault) (func(), error) {
	f.Args = slices.Clone(f.Args)
	if f.Args[1] == "elsewhere" {
		f.Args[1] = e.nextHost(f.Args[0])
	}
	return acts(aboutMove, moves)(e, f)
}

// nextHost is the host after that of the server's newest instance that executes.
func (e *engine) nextHost(server string) string {
	hosts := e.world.Hosts()
	at := -1
	for _, i := range e.world.Of(server) {
		if i.Executes {
			at = slices.Index(hosts, i.Host)
		}
	}
	for n := range hosts {
		if next := hosts[(at+1+n)%len(hosts)]; e.couldRun(next, server) {
			return next
		}
	}
	return hosts[0]
}

// moves asks for a planned move to a host, or back to where the server came from, with
// a snapshot of its LUNs or without.
func moves(ctx context.Context, b *brain, by string, f Fault) error {
	req := client.MoveRequest{To: f.Args[1], Reason: "planned work"}
	if f.Args[1] == "back" {
		req.To, req.Back = "", true
	}
	if len(f.Args) > 2 {
		if f.Args[2] != "snapshot" {
			return fmt.Errorf("a move has no %q, only a snapshot", f.Args[2])
		}
		req.Snapshot = true
	}
	_, err := b.solo.Backend.Move(ctx, by, f.Args[0], req)
	return err
}

// answers approves or denies what the server asks at that moment.
func answers(denied bool) func(context.Context, *brain, string, Fault) error {
	return func(ctx context.Context, b *brain, by string, f Fault) error {
		asked, err := b.solo.Backend.Approvals(ctx)
		if err != nil {
			return err
		}
		for _, row := range asked.Items {
			if row.Server == f.Args[0] {
				_, err := b.solo.Backend.Answer(ctx, by, row.Server, client.ApprovalRequest{Epoch: row.Epoch, Plan: row.Plan, Reason: "looked at it"}, denied)
				return err
			}
		}
		return errors.New("it asks nothing")
	}
}

// confirms states that the present epoch is dead. The person has looked: it is
// said only of what truly does not run, or the world is not to blame.
func confirms(ctx context.Context, b *brain, by string, f Fault) error {
	epoch := b.solo.State.Status(f.Args[0]).Epoch
	i := b.e.world.Find(f.Args[0], epoch)
	switch {
	case i == nil || !i.Executes:
	case b.e.world.Able(i):
		return errors.New("the person looks and sees it run")
	default:
		return errors.New("the person looks and sees it stand still, about to go on at any moment")
	}
	_, err := b.solo.Backend.ConfirmFence(ctx, by, f.Args[0], client.FenceConfirmRequest{Epoch: epoch, Reason: "seen with my own eyes"})
	return err
}

// goesOn lets the storm go on that holds the fleet at that moment.
func goesOn(ctx context.Context, b *brain, by string, _ Fault) error {
	v, err := b.solo.Backend.Storm(ctx)
	if err != nil {
		return err
	}
	if v.Storm == nil {
		return errors.New("there is no storm")
	}
	_, err = b.solo.Backend.StormGoOn(ctx, by, v.Storm.ID, "a look was taken")
	return err
}
