package etcd

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Member is one member of a cluster that is reached over the network, as people run
// one for several controllers. The lab uses it; people have their own.
type Member struct {
	Name, Dir string
	// Client and Peer are the URLs on which it serves. There is no TLS.
	Client, Peer string
	// Cluster lists all members, as NAME=PEER-URL with commas.
	Cluster string
	Log     *slog.Logger
}

// Serve runs the member until ctx ends. It has the limits that Open asks for, and looks
// for damage at its start.
func (m Member) Serve(ctx context.Context) error {
	cfg, err := m.config()
	if err != nil {
		return fmt.Errorf("member %s: %w", m.Name, err)
	}
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("member %s: %w", m.Name, err)
	}
	defer server.Close()
	select {
	case <-ctx.Done():
		return nil
	case err := <-server.Err():
		return fmt.Errorf("member %s: %w", m.Name, err)
	case <-server.Server.StopNotify():
		return fmt.Errorf("member %s: it stopped", m.Name)
	}
}

func (m Member) config() (*embed.Config, error) {
	s := Store{opts: Options{Dir: m.Dir, QuotaBytes: defaultQuota}}
	cfg, err := s.config()
	if err != nil {
		return nil, err
	}
	client, err := url.Parse(m.Client)
	if err != nil {
		return nil, err
	}
	peer, err := url.Parse(m.Peer)
	if err != nil {
		return nil, err
	}
	cfg.Name = m.Name
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	cfg.InitialCluster = m.Cluster
	// Members on one busy machine: the shortest election that a slow disk bears.
	cfg.TickMs, cfg.ElectionMs = 50, 500
	if _, err := os.Stat(filepath.Join(m.Dir, "member")); err == nil {
		cfg.ClusterState = embed.ClusterStateFlagExisting
	}
	level := zap.NewAtomicLevelAt(zapcore.WarnLevel)
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(newZap(m.Log, level, nil))
	return cfg, nil
}
