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
// chains: the outcome of each destructive step has exactly one earlier intent
// with the same token, marked as destructive, of the same step. The entries
// must start where the oldest open step was intended, or before. An intent
// without an outcome is no error: its controller may have died.
func CheckDestructive(entries iter.Seq2[Entry, error]) error {
	intents := map[string]event.Event{}
	twice := map[string]bool{}
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
			_, twice[token] = intents[token]
			intents[token] = ev
		case event.StepEnded:
			if detail := unannounced(ev, intents, twice); detail != "" {
				return &DestructiveError{e.Shard, e.Seq, token, detail}
			}
		default: // tells the end of a recovery, not of an effect
		}
	}
	return nil
}

// unannounced says what is wrong with the announcement of a step that ended.
func unannounced(ended event.Event, intents map[string]event.Event, twice map[string]bool) string {
	token := ended.Step.Step.Token
	intent, ok := intents[token]
	switch {
	case token == "":
		return "it ended without a token"
	case !ok:
		return "it ended without an earlier intent"
	case twice[token]:
		return "it ended after more than one intent"
	case !intent.Destructive:
		return "its intent is not marked as destructive"
	case !sameStep(intent.Step.Step, ended.Step.Step):
		return "its intent announced another step"
	}
	return ""
}

func sameStep(a, b fleet.Step) bool {
	return a.Kind == b.Kind && a.Server == b.Server && a.Epoch == b.Epoch && a.Host == b.Host && a.Object == b.Object
}
