package etcd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/pkg/v3/featuregate"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/features"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"relight/internal/store"
)

// startEmbedded locks and checks the directory, then lets etcd open it. Nothing
// of etcd runs on a directory that the checks refuse: etcd ends the process, or
// serves less than it acknowledged, on damage that they find.
func (s *Store) startEmbedded(ctx context.Context) (err error) {
	dir := s.opts.Dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("etcd directory %s: %w", dir, err)
	}
	if s.lock, err = lockDir(dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.lock.release())
		}
	}()
	if err := checkDir(ctx, dir); err != nil {
		return err
	}
	if err := dropManifest(dir); err != nil {
		return fmt.Errorf("etcd directory %s: %w", dir, err)
	}
	if err := s.startMember(); err != nil {
		return err
	}
	select {
	case <-s.server.Server.ReadyNotify():
	case <-s.server.Server.StopNotify():
		err = fmt.Errorf("etcd directory %s: %w: the member stopped while it started", dir, store.ErrUnavailable)
	case <-ctx.Done():
		err = fmt.Errorf("etcd directory %s: %w: the member was not ready in time: %w", dir, store.ErrUnavailable, ctx.Err())
	}
	if err != nil {
		s.server.Close()
		return err
	}
	s.client = v3client.New(s.server.Server)
	return nil
}

// startMember turns a panic or Fatal of etcd's start into an error. The goroutines
// and files that etcd had by then are leaked; the process is expected to end.
func (s *Store) startMember() (err error) {
	// Etcd warns about harmless things at each start.
	level := zap.NewAtomicLevelAt(zapcore.ErrorLevel)
	cfg, err := s.config()
	if err != nil {
		return err
	}
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(newZap(s.opts.Logger, level, fatalPanics{}))
	defer func() {
		if r := recover(); r != nil {
			err = damage(s.opts.Dir, fmt.Errorf("etcd can't start on it: %v", r))
		}
	}()
	if s.server, err = embed.StartEtcd(cfg); err != nil {
		return fmt.Errorf("etcd directory %s: %w: %w", s.opts.Dir, store.ErrUnavailable, err)
	}
	level.SetLevel(zapcore.WarnLevel)
	return nil
}

func (s *Store) config() (*embed.Config, error) {
	cfg := embed.NewConfig()
	cfg.Name = "relight"
	cfg.Dir = s.opts.Dir
	// Nothing listens: the only client is in this process. The advertised peer
	// address is part of the member's identity and is never dialled.
	cfg.ListenPeerUrls, cfg.ListenClientUrls, cfg.AdvertiseClientUrls = nil, nil, nil
	cfg.EnableGRPCGateway = false
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.AuthToken = ""
	// A single member elects itself after one election timeout, so that is most
	// of the time to the first answer.
	cfg.TickMs, cfg.ElectionMs = 10, 100
	cfg.QuotaBackendBytes = s.opts.QuotaBytes
	cfg.MaxTxnOps = store.MaxOps
	cfg.MaxRequestBytes = maxRequest
	cfg.AutoCompactionMode = embed.CompactorModePeriodic
	cfg.AutoCompactionRetention = "1h"
	cfg.CorruptCheckTime = time.Hour
	gates := features.NewDefaultServerFeatureGate(cfg.Name, nil)
	err := gates.(featuregate.MutableFeatureGate).SetFromMap(map[string]bool{
		string(features.InitialCorruptCheck): true,
		string(features.CompactHashCheck):    true,
	})
	cfg.ServerFeatureGate = gates
	return cfg, err
}

// stopEmbedded stops the member and seals the directory with a manifest.
func (s *Store) stopEmbedded() error {
	s.server.Close()
	<-s.server.Server.StopNotify()
	err := writeManifest(s.opts.Dir)
	if err != nil {
		err = fmt.Errorf("etcd directory %s: manifest: %w", s.opts.Dir, err)
	}
	return errors.Join(err, s.lock.release())
}

// damage is the one error for a directory that must not be used.
func damage(dir string, err error) error {
	if abs, absErr := filepath.Abs(dir); absErr == nil {
		dir = abs
	}
	return fmt.Errorf("etcd directory %s: %w: %w; check the disk, move the directory away for inspection, and "+
		"go on from a backup in a new one: relight restore FILE --data NEWDIR", dir, store.ErrCorrupt, err)
}
