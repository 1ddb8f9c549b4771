package beat

import "sync"

// Keyring finds the keys of agents. It is asked under a lock of the table: it
// must be quick and must not call the table back.
type Keyring interface {
	// Keys returns the agent's keys, newest first; none if it is not enrolled.
	// Two are valid while a key is being changed.
	Keys(AgentID) []Key
}

// Keys is a Keyring in memory. The zero value is empty; it is safe for concurrent use.
type Keys struct {
	mu   sync.RWMutex
	keys map[AgentID][]Key
}

// Keys implements Keyring.
func (k *Keys) Keys(id AgentID) []Key {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.keys[id]
}

// Set makes these the agent's keys, newest first; none takes the agent out.
// Tell the table by [Table.Rekey] or [Table.Drop].
func (k *Keys) Set(id AgentID, keys ...Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(keys) == 0 {
		delete(k.keys, id)
		return
	}
	if k.keys == nil {
		k.keys = map[AgentID][]Key{}
	}
	k.keys[id] = append([]Key(nil), keys...)
}
