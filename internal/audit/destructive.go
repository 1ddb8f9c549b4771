package audit

import (
	"fmt"
	"iter"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// DestructiveError names the first outcome of a destructive step that was not
// announced as invariant S12 wants it.
type DestructiveError struct {
	Shard  int
	Seq    uint64
	Token  string
	Detail string
}

// Error implements error.
func (e *DestructiveError) Error() string {
	return fmt.Sprintf("audit entry %d of shard %d: step %q: %s", e.Seq, e.Shard, e.Token, e.Detail)
}

// CheckDestructive checks invariant S12 over entries in the order of their
// chains: the outcome of each destructive call uses up one earlier intent with
// the same token, marked as destructive, of the same step. A call that is
// replayed is announced again. The entries must start where the oldest open step
// was intended, or before. An intent without an outcome is no error: its
// controller may have died.
func CheckDestructive(entries iter.Seq2[Entry, error]) error {
	open := map[string][]event.Event{}
	for e, err := range entries {
		if err != nil {
			return fmt.Errorf("check destructive steps: %w", err)
		}
		ev, err := e.Event()
		if err != nil {
			return err
		}
		if ev.Step == nil || !ev.Step.Step.Kind.Destructive() {
			continue
		}
		token := ev.Step.Step.Token
		switch ev.Kind {
		case event.StepIntended:
			open[token] = append(open[token], ev)
		case event.StepEnded:
			if detail := unannounced(ev, open[token]); detail != "" {
				return &DestructiveError{e.Shard, e.Seq, token, detail}
			}
			open[token] = open[token][1:]
		default: // tells the end of a recovery, not of an effect
		}
	}
	return nil
}

// unannounced says what is wrong with the announcement of a step that ended.
func unannounced(ended event.Event, open []event.Event) string {
	switch {
	case ended.Step.Step.Token == "":
		return "it ended without a token"
	case len(open) == 0:
		return "it ended without an earlier intent of its own"
	case !open[0].Destructive:
		return "its intent is not marked as destructive"
	case !sameStep(open[0].Step.Step, ended.Step.Step):
		return "its intent announced another step"
	}
	return ""
}

func sameStep(a, b fleet.Step) bool {
	return a.Kind == b.Kind && a.Server == b.Server && a.Epoch == b.Epoch && a.Host == b.Host && a.Object == b.Object
}
