// Package metric turns events into Prometheus metrics and serves them. The names
// in name.go, their labels and their meaning are public: dashboards and alerts
// of other people stand on them, and a golden test guards them.
//
// Labels take few values, known beforehand: servers, hosts and incidents are
// named in events, never in labels.
package metric
