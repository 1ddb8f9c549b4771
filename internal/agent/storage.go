package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"relight/internal/core/fleet"
)

// storageStale is after how long without a change another host's heartbeat on
// shared storage counts as stopped, on the reader's own clock: three were missed.
func storageStale(every time.Duration) time.Duration { return 7 * every / 2 }

// storageBeat is what a host rewrites: it says nothing but that whoever
// writes it is alive. Readers compare it with what they read before and never
// with their own clock.
type storageBeat struct {
	Counter uint64 `json:"counter"`
	Boot    string `json:"boot"`
}

func (b storageBeat) text() []byte {
	text, _ := json.Marshal(b) // a number and a text always go
	return text
}

// keepStorageBeat writes this host's heartbeat to shared storage and reads those
// of the others, until ctx ends. A file server that hangs holds up only this.
func (a *Agent) keepStorageBeat(ctx context.Context) {
	seen := storageSight{stale: int64(storageStale(a.opt.StorageBeatEvery)), hosts: map[string]moving{}}
	trouble := trouble{log: a.opt.Log, what: "writing the storage heartbeat"}
	defer a.opt.StorageBeats.Close()
	own := storageBeat{Boot: a.boot + "/" + a.run}
	for {
		began := time.Now()
		own.Counter++
		err := a.opt.StorageBeats.Write(ctx, a.opt.Name, own.text())
		a.board.setOwn(err)
		trouble.note(ctx, err)
		found, err := a.opt.StorageBeats.Read(ctx)
		for host, saw := range seen.step(a.opt.Clock(), found, err) {
			if host != a.opt.Name {
				a.board.put(a.board.storage, subject{host: host}, saw)
			}
		}
		if !pause(ctx, a.opt.StorageBeatEvery-time.Since(began)) {
			return
		}
	}
}

func (b *board) setOwn(err error) {
	answer := fleet.Yes
	if err != nil {
		answer = fleet.No
	}
	b.mu.Lock()
	changed := b.own != answer
	b.own, b.ownAt = answer, b.clock()
	b.mu.Unlock()
	if changed {
		b.news()
	}
}

// ownBeat is whether the host's own heartbeat could be written lately; mu is held. A
// write that hangs says nothing: it must not pass for the last one that did not.
func (b *board) ownBeat(stale time.Duration) fleet.Answer {
	if b.own == fleet.Yes && b.clock()-b.ownAt > int64(stale) {
		return fleet.No
	}
	return b.own
}

// storageSight tells from what was read whether the heartbeats move. It is a step
// machine; times are the reader's own clock.
type storageSight struct {
	stale int64
	hosts map[string]moving
	// since is when the present stretch of good readings began, 0 if there is none.
	since int64
}

// moving is one host's heartbeat.
type moving struct {
	content string
	// first is when it was first read, changed when it last changed.
	first, changed int64
}

// step takes one reading and says what is known of each host.
func (m *storageSight) step(now int64, found map[string]string, err error) map[string]sight {
	out := map[string]sight{}
	if err != nil {
		m.since = 0
		for host := range m.hosts {
			out[host] = sight{detail: err.Error()}
		}
		return out
	}
	if m.since == 0 {
		m.since = now
	}
	for host, content := range found {
		have, ok := m.hosts[host]
		switch {
		case !ok:
			m.hosts[host] = moving{content: content, first: now}
		case have.content != content:
			have.content, have.changed = content, now
			m.hosts[host] = have
		}
	}
	for host, have := range m.hosts {
		// Stillness counts only while it was looked at: readings that failed in
		// between saw nothing.
		still := now - max(have.changed, have.first, m.since)
		switch {
		case have.changed != 0 && now-have.changed <= m.stale:
			out[host] = sight{alive: fleet.Yes}
		case still > m.stale:
			out[host] = sight{alive: fleet.No, detail: fmt.Sprintf("unchanged for %s", time.Duration(still).Truncate(time.Second))}
		default:
			out[host] = sight{detail: "not watched for long enough"}
		}
	}
	return out
}
