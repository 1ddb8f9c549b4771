package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"time"

	"relight/internal/controller"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/spec"
	"relight/internal/store"
	"relight/internal/store/mem"
)

// memoryRows measures our own heap for fleets of three sizes: what the store
// holds, in memory, the last sights and signals, and the deadlines.
func memoryRows(ctx context.Context, _ Options) ([]Row, error) {
	m, err := newModel(ctx)
	if err != nil {
		return nil, err
	}
	var rows []Row
	counts := []int{1_000, 10_000, 100_000}
	used := map[int]float64{}
	for _, n := range counts {
		before := heap()
		held, err := m.build(ctx, n)
		if err != nil {
			return nil, err
		}
		used[n] = float64(heap()) - float64(before)
		runtime.KeepAlive(held)
		rows = append(rows, Row{Name: fmt.Sprintf("controller heap per server at %d", n), Value: used[n] / float64(n), Unit: "B"})
	}
	small, large := counts[0], counts[len(counts)-1]
	slope := (used[large] - used[small]) / float64(large-small)
	return append(rows, Row{Name: "controller heap per further server", Value: slope, Unit: "B", Goal: "<= 2048"}), nil
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// model is one healthy server as a controller knows it: the others of a fleet are
// made like it, under names of their own.
type model struct {
	policy, server, status, sight, host []byte
}

func newModel(ctx context.Context) (*model, error) {
	r, err := newRig(ctx, mem.New(mem.Options{Now: time.Now}), 1)
	if err != nil {
		return nil, err
	}
	for range 2 {
		if err := r.look(ctx); err != nil {
			return nil, err
		}
		if _, err := r.healer.Pass(ctx, serverName(0)); err != nil {
			return nil, err
		}
	}
	status := r.state.Status(serverName(0))
	if status.Phase != fleet.PhaseRunning {
		return nil, fmt.Errorf("the model server is %s", status.Phase)
	}
	sweep, err := r.provider.Observe(ctx, r.state.Servers())
	if err != nil {
		return nil, err
	}
	m := &model{}
	for _, text := range []string{policyYAML, serverYAML(0)} {
		docs, err := spec.Parse(spec.File{Name: "bench.yaml", Data: []byte(text)})
		if err != nil {
			return nil, err
		}
		m.policy, m.server = m.server, docs[0].Raw
	}
	for _, part := range []struct {
		to   *[]byte
		from any
	}{{&m.status, status}, {&m.sight, sweep.Servers[0]}, {&m.host, sweep.Hosts[0]}} {
		if *part.to, err = json.Marshal(part.from); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// as returns a copy of a part for server i, decoded into out so that it shares no
// string with any other.
func as(raw []byte, i int, out any) error {
	text := strings.ReplaceAll(string(raw), serverName(0), serverName(i))
	return json.Unmarshal([]byte(strings.ReplaceAll(text, hostName(0), hostName(i/perHost))), out)
}

// build makes the state, the collector and the deadlines of a fleet of n.
func (m *model) build(ctx context.Context, n int) (any, error) {
	now := time.Now()
	state, collector, due := controller.NewState(), controller.NewCollector(now, contact), controller.NewDeadlines()
	journal := controller.NewJournal(state, &forgetful{})
	err := journal.Do(ctx, now, func(tx *controller.Tx) error {
		tx.Put("policy", "default", controller.Document{Raw: m.policy})
		return nil
	})
	if err != nil {
		return nil, err
	}
	const batch = 1000
	for first := 0; first < n; first += batch {
		err := journal.Do(ctx, now, func(tx *controller.Tx) error {
			for i := first; i < first+batch; i++ {
				if err := m.put(tx, i); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if err := m.see(collector, first, batch); err != nil {
			return nil, err
		}
	}
	for i := range n {
		due.Set(serverName(i), now)
	}
	return []any{state, collector, due}, nil
}

func (m *model) put(tx *controller.Tx, i int) error {
	var raw json.RawMessage
	var status fleet.Status
	if err := as(m.server, i, &raw); err != nil {
		return err
	}
	if err := as(m.status, i, &status); err != nil {
		return err
	}
	tx.Put("server", serverName(i), controller.Document{Raw: raw})
	tx.Put("status", serverName(i), status)
	return nil
}

// see takes a sweep over some servers, each on its host, which reaches the
// volumes of its own.
func (m *model) see(c *controller.Collector, first, count int) error {
	var sweep provider.Sweep
	for i := first; i < first+count; i++ {
		var sight provider.ServerSight
		if err := as(m.sight, i, &sight); err != nil {
			return err
		}
		sweep.Servers = append(sweep.Servers, sight)
		if i%perHost == 0 {
			var host provider.HostSight
			if err := as(m.host, i, &host); err != nil {
				return err
			}
			host.Reaches, host.Servers = map[string][]string{}, nil
			sweep.Hosts = append(sweep.Hosts, host)
		}
		host := &sweep.Hosts[len(sweep.Hosts)-1]
		host.Reaches[serverName(i)] = []string{"data"}
		host.Servers = append(host.Servers, serverName(i))
	}
	c.Take(sweep)
	return nil
}

// forgetful is a store that keeps nothing: only our own heap is measured.
type forgetful struct {
	store.Store
	rev store.Revision
}

// List implements store.Store.
func (f *forgetful) List(context.Context, string) ([]store.Record, store.Revision, error) {
	return nil, f.rev, nil
}

// Commit implements store.Store.
func (f *forgetful) Commit(context.Context, store.Txn) (store.Revision, error) {
	f.rev++
	return f.rev, nil
}
