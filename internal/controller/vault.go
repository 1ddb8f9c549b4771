package controller

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"relight/internal/core/event"
	"relight/internal/enrol"
)

// Secrets keeps enrolment's vault and the hosts' records in the journal's store.
type Secrets struct {
	Journal *Journal
	Clock   Clock
}

var (
	_ enrol.Vault    = (*Secrets)(nil)
	_ enrol.Registry = (*Secrets)(nil)
)

// Load implements enrol.Vault.
func (s *Secrets) Load(_ context.Context, name string) ([]byte, error) {
	data, ok := Get[[]byte](s.Journal.State, kindVault, name)
	if !ok {
		return nil, fmt.Errorf("vault entry %s: %w", name, enrol.ErrAbsent)
	}
	return data, nil
}

// Save implements enrol.Vault.
func (s *Secrets) Save(ctx context.Context, name string, data []byte) error {
	return s.Journal.Do(ctx, s.Clock.Now(), func(tx *Tx) error {
		if _, ok := TxGet[[]byte](tx, kindVault, name); ok {
			return fmt.Errorf("vault entry %s: %w", name, enrol.ErrExists)
		}
		tx.Put(kindVault, name, data)
		return nil
	})
}

// Hosts implements enrol.Registry.
func (s *Secrets) Hosts(context.Context) ([]enrol.Host, error) {
	return All[enrol.Host](s.Journal.State, kindHost), nil
}

// SaveHost implements enrol.Registry.
func (s *Secrets) SaveHost(ctx context.Context, host enrol.Host) error {
	return s.Journal.Do(ctx, s.Clock.Now(), func(tx *Tx) error {
		tx.Put(kindHost, host.Name, host)
		tx.Emit(event.Event{Kind: event.HostJoined, Host: host.Name, Message: "host " + host.Name + " joined"})
		return nil
	})
}

// ChangeHost implements enrol.Registry. A certificate that is given out, and one that
// is refused from now on, are facts for the record.
func (s *Secrets) ChangeHost(ctx context.Context, name string, change func(enrol.Host) (enrol.Host, error)) error {
	return s.Journal.Do(ctx, s.Clock.Now(), func(tx *Tx) error {
		before, ok := TxGet[enrol.Host](tx, kindHost, name)
		if !ok {
			return fmt.Errorf("record of host %s: %w", name, enrol.ErrAbsent)
		}
		after, err := change(before)
		if err != nil || reflect.DeepEqual(before, after) {
			return err
		}
		tx.Put(kindHost, name, after)
		tell := func(message string) {
			tx.Emit(event.Event{Kind: event.HostRenewed, Host: name, Message: "host " + name + " " + message})
		}
		switch {
		case after.Serial != before.Serial:
			tell("uses its renewed certificate; the earlier one is refused from now on")
		case after.Next != nil:
			tell("was given a new certificate, good until " + after.Next.Ends.UTC().Format(time.DateOnly))
		}
		return nil
	})
}

// RemoveHost implements enrol.Registry.
func (s *Secrets) RemoveHost(ctx context.Context, name string) error {
	return s.Journal.Do(ctx, s.Clock.Now(), func(tx *Tx) error {
		tx.Delete(kindHost, name)
		tx.Delete(kindPlace, name)
		return nil
	})
}
