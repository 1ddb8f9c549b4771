package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"relight/internal/agent/keeper"
	"relight/internal/core/fleet"
	"relight/internal/core/lease"
	"relight/internal/provider/onprem/link"
)

const (
	memoryFile   = "memory.json"
	outcomesFile = "outcomes.json"
	watchFile    = "watch.json"
	// keepOutcomes is how many outcomes are remembered: a controller that comes
	// back replays only the steps of recoveries that were under way.
	keepOutcomes = 128
)

// memory is what the agent must know after a restart: whom it obeys, which epochs
// it was given, what it did for which token, and what it is to watch.
type memory struct {
	dir string

	mu       sync.Mutex
	facts    lease.Obeyed // survives a power loss
	outcomes []outcome
	watch    *link.Watch
}

// outcome is a command that succeeded. Failures are not kept: the same token may
// be tried again once a lock is free.
type outcome struct {
	ID string `json:"id"`
	// Content tells a replay from another command under the same token.
	Content string      `json:"content"`
	Result  link.Result `json:"result"`
}

func openMemory(dir string) (*memory, error) {
	m := &memory{dir: dir}
	for name, into := range map[string]any{memoryFile: &m.facts, outcomesFile: &m.outcomes, watchFile: &m.watch} {
		err := keeper.ReadFile(filepath.Join(dir, name), into)
		// A damaged file is never taken as an empty one: an agent that forgot
		// its terms would obey a controller that was replaced.
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("agent memory: %w", err)
		}
	}
	return m, nil
}

// contentOf is what must be the same when a command is replayed.
func contentOf(cmd link.Command) string {
	step := cmd.Step
	// These may differ between two calls of one step.
	step.Within, step.Why, step.Rung, step.Pause = 0, "", "", 0
	parts := []any{step, cmd.Volumes, cmd.Addresses, cmd.Process}
	if cmd.VM != nil || len(cmd.Disks) > 0 {
		parts = append(parts, cmd.VM, cmd.Disks)
	}
	data, err := json.Marshal(parts)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

var errContent = errors.New("another command came under the same token")

// known returns the result of a command that was done before. errContent means
// that the token was used for something else.
func (m *memory) known(cmd link.Command) (link.Result, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range m.outcomes {
		if o.ID != cmd.ID {
			continue
		}
		if o.Content != contentOf(cmd) {
			return link.Result{}, false, errContent
		}
		r := o.Result
		r.Replayed = true
		return r, true, nil
	}
	return link.Result{}, false, nil
}

// admit refuses old terms and old epochs and remembers new ones before anything is
// done for them (invariant S10).
func (m *memory) admit(cmd link.Command, leaseTerm fleet.Term) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	after, changed, err := m.facts.Admit(lease.Order{
		Term: cmd.Term, Kind: cmd.Step.Kind, Server: cmd.Step.Server, Epoch: cmd.Step.Epoch, Units: cmd.Units,
	}, leaseTerm)
	if err != nil || !changed {
		return err
	}
	if err := keeper.WriteFile(filepath.Join(m.dir, memoryFile), after, true); err != nil {
		return fmt.Errorf("agent memory: %w", err)
	}
	m.facts = after
	return nil
}

// done remembers the outcome of a command that succeeded. It need not survive a
// power loss, after which nothing of it is left on this host anyway.
func (m *memory) done(cmd link.Command, r link.Result) error {
	r.Report = nil
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outcomes = append(m.outcomes, outcome{ID: cmd.ID, Content: contentOf(cmd), Result: r})
	if over := len(m.outcomes) - keepOutcomes; over > 0 {
		m.outcomes = m.outcomes[over:]
	}
	if err := keeper.WriteFile(filepath.Join(m.dir, outcomesFile), m.outcomes, false); err != nil {
		return fmt.Errorf("agent memory: %w", err)
	}
	return nil
}

// setWatch takes a new watch. It is kept, because an agent that starts while it is
// cut off must know whom to ask.
func (m *memory) setWatch(w *link.Watch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watch = w
	if err := keeper.WriteFile(filepath.Join(m.dir, watchFile), w, false); err != nil {
		return fmt.Errorf("agent memory: %w", err)
	}
	return nil
}

// watched returns the present watch, which is not to be changed; never nil.
func (m *memory) watched() *link.Watch {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.watch == nil {
		return &link.Watch{}
	}
	return m.watch
}

// obeyed returns what the host has obeyed; it is not to be changed.
func (m *memory) obeyed() lease.Obeyed {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.facts
}
