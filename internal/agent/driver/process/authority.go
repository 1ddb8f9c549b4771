package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"relight/internal/agent/keeper"
	"relight/internal/core/fleet"
)

// authority remembers, across restarts and power losses, whom this host obeys:
// the highest controller term, and per server the highest epoch and the highest
// fenced one (invariants S3 and S10).
type authority struct {
	dir string

	mu    sync.Mutex
	term  fleet.Term
	known map[string]epochs
}

// epochs is what the host has seen of one server.
type epochs struct {
	Highest fleet.Epoch `json:"highest"`
	Fenced  fleet.Epoch `json:"fenced"` // this one and all below start no more here
}

// openAuthority reads the term. A damaged file is an error, never a zero.
func openAuthority(dir string) (*authority, error) {
	a := &authority{dir: dir, known: map[string]epochs{}}
	if err := os.MkdirAll(filepath.Join(dir, "servers"), 0o700); err != nil {
		return nil, err
	}
	err := keeper.ReadFile(a.termPath(), &a.term)
	if errors.Is(err, os.ErrNotExist) {
		// Writing it syncs the directory, and with it the entry of "servers".
		err = keeper.WriteFile(a.termPath(), a.term, true)
	}
	return a, err
}

func (a *authority) termPath() string { return filepath.Join(a.dir, "term.json") }

func (a *authority) serverPath(server string) string {
	return filepath.Join(a.dir, "servers", server+".json")
}

// obey refuses an old term and remembers a new one.
func (a *authority) obey(r Ref) error {
	if r.Server == "" || len(r.Server) > 200 || r.Server[0] == '.' || strings.ContainsAny(r.Server, "/\x00") || r.Epoch == 0 {
		return fmt.Errorf("instance %q epoch %d: %w", r.Server, r.Epoch, ErrName)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.Term < a.term {
		return fmt.Errorf("term %d: %w, %d spoke already", r.Term, ErrOldTerm, a.term)
	}
	if r.Term > a.term {
		if err := keeper.WriteFile(a.termPath(), r.Term, true); err != nil {
			return fmt.Errorf("remember term %d: %w", r.Term, err)
		}
		a.term = r.Term
	}
	return nil
}

// mayStart refuses old and fenced epochs and remembers a new one.
func (a *authority) mayStart(r Ref) error {
	if err := a.obey(r); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	e, err := a.server(r.Server)
	switch {
	case err != nil:
		return err
	case r.Epoch <= e.Fenced:
		return fmt.Errorf("%s.%d: %w up to %d", r.Server, r.Epoch, ErrFenced, e.Fenced)
	case r.Epoch < e.Highest:
		return fmt.Errorf("%s.%d: %w, %d was here", r.Server, r.Epoch, ErrOldEpoch, e.Highest)
	case r.Epoch == e.Highest:
		return nil
	}
	e.Highest = r.Epoch
	return a.put(r.Server, e)
}

// fence sees to it that r's epoch and those below start no more on this host.
func (a *authority) fence(r Ref) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, err := a.server(r.Server)
	if err != nil || r.Epoch <= e.Fenced {
		return err
	}
	e.Fenced = r.Epoch
	return a.put(r.Server, e)
}

func (a *authority) fenced(server string, epoch fleet.Epoch) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, err := a.server(server)
	return err == nil && epoch <= e.Fenced
}

func (a *authority) server(server string) (epochs, error) {
	if e, ok := a.known[server]; ok {
		return e, nil
	}
	var e epochs
	if err := keeper.ReadFile(a.serverPath(server), &e); err != nil && !errors.Is(err, os.ErrNotExist) {
		return epochs{}, fmt.Errorf("server %s: %w", server, err)
	}
	a.known[server] = e
	return e, nil
}

func (a *authority) put(server string, e epochs) error {
	if err := keeper.WriteFile(a.serverPath(server), e, true); err != nil {
		return fmt.Errorf("remember server %s: %w", server, err)
	}
	a.known[server] = e
	return nil
}
