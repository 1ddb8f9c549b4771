package bench

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"relight/internal/controller"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/sim"
	"relight/internal/spec"
	"relight/internal/store"
	"relight/internal/world"
)

// wallClock is the machine's clock: overhead is real time.
type wallClock struct{}

// Now implements world.Clock and controller.Clock.
func (wallClock) Now() time.Time { return time.Now() }

// rig is one controller over a simulated site whose calls take no time, so that
// all that passes is the product's own.
type rig struct {
	world     *world.World
	journal   *controller.Journal
	state     *controller.State
	collector *controller.Collector
	viewer    *controller.Viewer
	healer    *controller.Healer
	loops     *controller.Loops
	provider  provider.Provider

	mu     sync.Mutex
	healed map[string]time.Time
	news   chan struct{}
}

const policyYAML = `
apiVersion: relight/v1alpha1
kind: Policy
metadata: {name: default}
spec:
  mode: auto
  health: {check: {http: "http://127.0.9.1:80/health"}}
  budget: {steps: 1000000}
`

func serverYAML(i int) string {
	return fmt.Sprintf(`
apiVersion: relight/v1alpha1
kind: Server
metadata: {name: %s}
spec:
  provider: sim
  identity:
    volumes: [{name: data, path: /v/%s, reach: machine}]
    addresses: [{ip: 127.%d.%d.%d}]
  template: {sim: {}}
`, serverName(i), serverName(i), 10+i>>16, i>>8&255, i&255)
}

func serverName(i int) string { return fmt.Sprintf("server-%06d", i) }

func hostName(i int) string { return fmt.Sprintf("host-%03d", i) }

// perHost is how many servers run on a host, which has room for as many again.
const perHost = 25

// contact is the silence after which a host counts as out of contact.
const contact = time.Second

// newRig declares the servers, none of which runs yet.
func newRig(ctx context.Context, st store.Store, servers int) (*rig, error) {
	clock := wallClock{}
	r := &rig{healed: map[string]time.Time{}, news: make(chan struct{}, 1), state: controller.NewState()}
	r.world = world.New(world.Config{Clock: clock})
	r.journal = controller.NewJournal(r.state, st)
	if err := r.state.Load(ctx, st); err != nil {
		return nil, err
	}
	reign := controller.NewReigning(r.journal, clock, "bench", 15*time.Second)
	if err := reign.Begin(ctx); err != nil {
		return nil, err
	}
	if err := r.declare(ctx, servers); err != nil {
		return nil, err
	}
	inner := sim.New(r.world, sim.Options{AttachFirst: true, Wakes: true, Rungs: []fleet.Rung{fleet.RestartApp, fleet.Relaunch, fleet.Move}})
	r.provider = provider.WithAuthority(inner, reign.Allowed)
	providers := map[string]provider.Provider{"sim": r.provider}
	log := slog.New(slog.DiscardHandler)
	r.collector = controller.NewCollector(clock.Now(), contact)
	r.viewer = &controller.Viewer{
		State: r.state, Collector: r.collector, Traits: map[string]fleet.Traits{"sim": inner.Traits()},
		Authority: reign.Authority, Trouble: func() string { return "" },
	}
	r.healer = &controller.Healer{
		Journal: r.journal, Viewer: r.viewer, Collector: r.collector, Providers: providers, Clock: clock, Log: log,
	}
	pace := controller.DefaultPace()
	pace.Sweep = contact / 4
	r.loops = &controller.Loops{
		Healer: r.healer, Collector: r.collector, State: r.state, Reigning: reign, Deadlines: controller.NewDeadlines(),
		Providers: providers, Clock: clock, Pace: pace, Log: log,
	}
	r.journal.Listen(r.note)
	return r, nil
}

// declare applies all documents and puts hosts, volumes and addresses into the world.
func (r *rig) declare(ctx context.Context, servers int) error {
	texts := []string{policyYAML, "apiVersion: relight/v1alpha1\nkind: Site\nmetadata: {name: rack-1}\nspec: {kind: rack}\n"}
	r.world.Lock()
	r.world.AddSite(world.Site{Name: "rack-1", Kind: fleet.SiteRack})
	for i := range max(3, (servers+perHost-1)/perHost) {
		r.world.AddHost(world.Host{Name: hostName(i), Parent: "rack-1", Units: 2 * perHost, Power: true})
		texts = append(texts, fmt.Sprintf("apiVersion: relight/v1alpha1\nkind: Site\nmetadata: {name: %s}\nspec: {kind: host, parent: rack-1}\n", hostName(i)))
	}
	r.world.Unlock()
	for i := range servers {
		texts = append(texts, serverYAML(i))
	}
	for _, text := range texts {
		docs, err := spec.Parse(spec.File{Name: "bench.yaml", Data: []byte(text)})
		if err != nil {
			return err
		}
		err = r.journal.Do(ctx, time.Now(), func(tx *controller.Tx) error {
			for _, d := range docs {
				tx.Put(strings.ToLower(string(d.Kind)), d.Name, controller.Document{Raw: d.Raw})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, s := range r.state.Servers() {
		sim.Declare(r.world, s, "")
	}
	return nil
}

// note remembers when each recovery was durably healed.
func (r *rig) note(news []controller.Recorded) {
	now := time.Now()
	r.mu.Lock()
	for _, n := range news {
		if n.Event.Kind == event.RecoveryHealed {
			r.healed[n.Event.Server] = now
		}
	}
	r.mu.Unlock()
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// await waits until all of them were healed since the last forget.
func (r *rig) await(ctx context.Context, names []string) error {
	for {
		missing := 0
		r.mu.Lock()
		for _, n := range names {
			if _, ok := r.healed[n]; !ok {
				missing++
			}
		}
		r.mu.Unlock()
		if missing == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d servers were not healed: %w", missing, len(names), ctx.Err())
		case <-r.news:
		}
	}
}

// kill ends the process of each of them and returns how long each took to heal,
// from the moment at which its own death could be seen.
func (r *rig) kill(ctx context.Context, names []string) ([]time.Duration, error) {
	r.mu.Lock()
	clear(r.healed)
	r.mu.Unlock()
	died := map[string]time.Time{}
	r.world.Lock()
	for _, name := range names {
		i := r.world.Find(name, r.state.Status(name).Epoch)
		if i == nil {
			r.world.Unlock()
			return nil, fmt.Errorf("%s does not run", name)
		}
		if err := r.world.Kill(i); err != nil {
			r.world.Unlock()
			return nil, fmt.Errorf("kill %s: %w", name, err)
		}
		died[name] = time.Now()
	}
	r.world.Unlock()
	if err := r.await(ctx, names); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var took []time.Duration
	for _, name := range names {
		took = append(took, r.healed[name].Sub(died[name]))
	}
	return took, nil
}
