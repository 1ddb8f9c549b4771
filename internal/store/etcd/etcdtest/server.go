// Package etcdtest runs an etcd server for tests that is as foreign to the store
// as a cluster of somebody else's: it is reached over TCP.
package etcdtest

import (
	"log/slog"
	"net/url"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"relight/internal/store"
)

// Start runs a server until the test ends and returns its client URL. change may
// alter its configuration, which has the limits that our guide asks for.
func Start(t *testing.T, change func(*embed.Config)) string {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Name = "theirs"
	cfg.Dir = t.TempDir()
	free := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{free}, []url.URL{free}
	cfg.ListenPeerUrls = nil
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.TickMs, cfg.ElectionMs = 10, 100
	cfg.MaxTxnOps, cfg.MaxRequestBytes = store.MaxOps, store.MaxTxnBytes+1<<20
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	if change != nil {
		change(cfg)
	}
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	select {
	case <-server.Server.ReadyNotify():
	case <-time.After(30 * time.Second):
		t.Fatal("the outside etcd does not start")
	}
	return "http://" + server.Clients[0].Addr().String()
}

// Log is a logger for what a test opens on the server.
func Log(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }
