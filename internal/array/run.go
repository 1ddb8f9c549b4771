package array

import (
	"context"
	"errors"
	"fmt"
	"time"

	"relight/internal/array/iscsi"
	"relight/internal/core/fleet"
)

// Env is what a fence needs from outside.
type Env struct {
	Array Array
	Marks Marks
	// Login tries to log in as the fenced epoch; nil if there is no way to.
	Login func(ctx context.Context) (LoginAnswer, error)
	// Line is asked for SourceKeys.
	Line Line
	Now  func() time.Time
	// Wait returns at the time, or with an error when the context ends.
	Wait func(ctx context.Context, until time.Time) error
}

// keysWithin bounds what the fence gives to the second line, on which it does not depend.
const keysWithin = 2 * time.Second

// WaitBy waits by the given clock; see Env.Wait.
func WaitBy(now func() time.Time) func(context.Context, time.Time) error {
	return func(ctx context.Context, until time.Time) error {
		t := time.NewTimer(until.Sub(now()))
		defer t.Stop()
		select {
		case <-t.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Run fences an epoch, and returns the evidence for each volume. Errors:
// *FenceError, or the context's. After an error nothing is proved; what was done
// stays done, and it may be run again.
func Run(ctx context.Context, env Env, p Plan) ([]fleet.Evidence, error) {
	p.Array = env.Array.Name()
	f, e := Begin(p, env.Now())
	for !e.Over() {
		var a Answer
		if e.Source == sourceNone {
			if err := env.Wait(ctx, e.Until); err != nil {
				return nil, fmt.Errorf("fence %s epoch %d: %w", p.Server, p.Epoch, err)
			}
		} else {
			// No source may hold the fence beyond its end.
			asking, cancel := context.WithTimeout(ctx, p.Within)
			a = env.ask(asking, p, e)
			cancel()
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("fence %s epoch %d: %w", p.Server, p.Epoch, err)
		}
		f, e = f.Next(env.Now(), a)
	}
	if e.Failed != nil {
		return nil, e.Failed
	}
	return e.Evidence, nil
}

func (env Env) ask(ctx context.Context, p Plan, e Effect) (a Answer) {
	r := p.Ref
	switch e.Source {
	case SourceJournal:
		a.Fenced, a.Err = env.Marks(ctx, r.Server)
	case SourceKeys:
		ctx, cancel := context.WithTimeout(ctx, keysWithin)
		defer cancel()
		a.Taken, a.Err = env.Line.Preempt(ctx, r.Epoch)
	case SourceUnmap:
		a.Err = env.Array.Unmap(ctx, r)
	case SourceSessions, SourceRelist:
		a.Sessions, a.Err = env.Array.Sessions(ctx, r)
	case SourceKill:
		for _, s := range e.Sessions {
			a.Err = errors.Join(a.Err, env.Array.Kill(ctx, s))
		}
	case SourceOffline:
		a.Err = env.Array.Offline(ctx, r, p.Offline.LUNs)
	case SourceClose:
		a.Err = env.Array.Close(ctx, r)
	case SourceLogin:
		if env.Login != nil {
			a.Login, a.Err = env.Login(ctx)
		}
	case sourceNone:
	case SourceMaps:
		a.Maps, a.Err = env.Array.Maps(ctx, r.Server)
	}
	return a
}

// TryLogin makes the login of Env from the epoch's map. It uses the right secret:
// a refusal of a wrong one says nothing of the map.
func TryLogin(t Target, m Map) func(context.Context) (LoginAnswer, error) {
	return func(ctx context.Context) (LoginAnswer, error) {
		s, err := iscsi.Dial(ctx, m.Config(t))
		switch {
		case err == nil:
			_ = s.Close()
			return LoginLetIn, nil
		case iscsi.IsRefused(err):
			return LoginRefused, nil
		case errors.Is(err, iscsi.ErrPortal):
			return LoginNoWay, err
		default:
			return LoginUnknown, err
		}
	}
}
