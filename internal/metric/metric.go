package metric

import (
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"relight/internal/core/fleet"
)

// Config is what a Registry needs to know of its surroundings.
type Config struct {
	// Version and Revision name the build.
	Version, Revision string
	// ProviderOf names the provider of a server, or is empty if it has none.
	ProviderOf func(server string) string
}

// Registry holds the metrics of one controller. Its methods may be called at the
// same time, but for Observe, whose events come in the order of their journal.
type Registry struct {
	registry   *prometheus.Registry
	providerOf func(server string) string
	open       map[string]*recovery

	events, steps, fences, holds *prometheus.CounterVec
	recoveries, requests         *prometheus.CounterVec
	incidents                    prometheus.Counter
	durations                    *prometheus.HistogramVec
	servers, spare               *prometheus.GaugeVec
	leader, term                 prometheus.Gauge
	shards, revision             prometheus.Gauge
}

// durationBuckets go from a restart of a process to a person who had to be woken.
func durationBuckets() []float64 {
	return []float64{0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 14400}
}

// New makes a registry with all metrics of ours and those of the Go runtime and
// the process.
func New(cfg Config) *Registry {
	r := &Registry{registry: prometheus.NewRegistry(), providerOf: cfg.ProviderOf, open: map[string]*recovery{}}
	r.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	r.events = r.counters(nameEvents, "Events that were journaled.", labelKind)
	r.steps = r.counters(nameSteps, "Steps that ended.", labelKind, labelResult)
	r.fences = r.counters(nameFenceAttempts, "Attempts to prove an epoch dead.", labelMethod, labelResult)
	r.holds = r.counters(nameHolds, "Times that a guard began to hold a recovery.", labelGate)
	r.recoveries = r.counters(nameRecoveries, "Rungs of recoveries that ended.", labelProvider, labelRung, labelResult)
	r.requests = r.counters(nameProviderRequests, "Calls to providers, by the class of their error; ok if none.", labelOp, labelClass)
	r.incidents = register(r, prometheus.NewCounter(prometheus.CounterOpts{Name: nameIncidents, Help: "Incidents that were opened."}))
	r.durations = register(r, prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: nameRecoveryDuration, Help: "How long the phases of healed recoveries took.", Buckets: durationBuckets(),
	}, []string{labelProvider, labelPhase}))
	r.servers = register(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: nameServers, Help: "Servers of the shards that this controller owns.",
	}, []string{labelVerdict}))
	r.spare = register(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: nameSpare, Help: "1 if the others could take over the servers of any one host of the site, else 0.",
	}, []string{labelSite}))
	r.leader = r.gauge(nameLeader, "1 if this controller holds its lease and may act, else 0.")
	r.term = r.gauge(nameTerm, "The term of this controller.")
	r.shards = r.gauge(nameShardsOwned, "Shards that this controller owns.")
	r.revision = r.gauge(nameStoreRevision, "The store's revision that this controller has seen.")

	build := register(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: nameBuildInfo, Help: "1, with the build in the labels.",
	}, []string{"version", "revision", "goversion"}))
	build.WithLabelValues(cfg.Version, cfg.Revision, runtime.Version()).Set(1)
	return r
}

func register[C prometheus.Collector](r *Registry, c C) C {
	r.registry.MustRegister(c)
	return c
}

func (r *Registry) counters(name, help string, labels ...string) *prometheus.CounterVec {
	return register(r, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
}

func (r *Registry) gauge(name, help string) prometheus.Gauge {
	return register(r, prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help}))
}

// Handler serves the metrics, for /metrics.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.registry, promhttp.HandlerOpts{})
}

// SetServers sets how many servers have which verdict; verdicts that count does
// not name have none.
func (r *Registry) SetServers(count map[fleet.Verdict]int) {
	for _, v := range []fleet.Verdict{fleet.Unknown, fleet.Healthy, fleet.Suspect, fleet.Impaired, fleet.Down, fleet.Isolated} {
		r.servers.WithLabelValues(v.String()).Set(float64(count[v]))
	}
}

// SetSpare sets, by site, whether the loss of any one host can be borne.
func (r *Registry) SetSpare(sites map[string]bool) {
	r.spare.Reset()
	for site, ok := range sites { // each is a series of its own: the order is all one
		value := 0.0
		if ok {
			value = 1
		}
		r.spare.WithLabelValues(site).Set(value)
	}
}

// SetAuthority sets whether the controller may act, in which term, and how many
// shards it owns.
func (r *Registry) SetAuthority(leads bool, term fleet.Term, shards int) {
	r.leader.Set(0)
	if leads {
		r.leader.Set(1)
	}
	r.term.Set(float64(term))
	r.shards.Set(float64(shards))
}

// SetStoreRevision sets the store's revision.
func (r *Registry) SetStoreRevision(revision int64) { r.revision.Set(float64(revision)) }

// ProviderRequest counts a call to a provider; class is empty if it had no error.
func (r *Registry) ProviderRequest(op, class string) {
	if class == "" {
		class = "ok"
	}
	r.requests.WithLabelValues(op, class).Inc()
}

// Beats has the counts of the heartbeat receiver read at each scrape: a hundred
// thousand beats a second need no second counter. It is called once.
func (r *Registry) Beats(read func() (accepted uint64, dropped map[string]uint64)) {
	r.registry.MustRegister(beats{
		read:     read,
		accepted: prometheus.NewDesc(nameBeats, "Heartbeats that were accepted.", nil, nil),
		dropped:  prometheus.NewDesc(nameBeatsDropped, "Heartbeat datagrams and items that were not taken.", []string{labelReason}, nil),
	})
}

type beats struct {
	read              func() (uint64, map[string]uint64)
	accepted, dropped *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (b beats) Describe(out chan<- *prometheus.Desc) {
	out <- b.accepted
	out <- b.dropped
}

// Collect implements prometheus.Collector.
func (b beats) Collect(out chan<- prometheus.Metric) {
	accepted, dropped := b.read()
	out <- prometheus.MustNewConstMetric(b.accepted, prometheus.CounterValue, float64(accepted))
	for reason, n := range dropped {
		out <- prometheus.MustNewConstMetric(b.dropped, prometheus.CounterValue, float64(n), reason)
	}
}
