// Package etcd is the store on etcd: a single member embedded in this process
// with its data in a directory, or a cluster outside.
//
// docs/design/store.md says why etcd, how it is set, and exactly which damage to
// a directory is found.
package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"relight/internal/store"
)

// Options say where the data is. Exactly one of Dir and Endpoints must be set.
type Options struct {
	// Dir holds the data of an embedded single member and is created if absent.
	// One process at a time may open it.
	Dir string
	// Endpoints are the client URLs of a cluster outside.
	Endpoints []string
	// TLS is the client configuration for https Endpoints.
	TLS *tls.Config
	// Logger gets etcd's warnings and errors. Required.
	Logger *slog.Logger
	// QuotaBytes bounds the embedded database; commits get ErrNoSpace beyond
	// it. 0 means 4 GiB: a cell of 250,000 servers needs about one.
	QuotaBytes int64
	// MinFreeBytes is the free disk space under Dir below which Health returns
	// ErrNoSpace. 0 means 1 GiB.
	MinFreeBytes uint64
}

const (
	defaultQuota   = 4 << 30
	defaultMinFree = 1 << 30
)

// Store implements store.Store on an etcd client.
type Store struct {
	opts   Options
	client *clientv3.Client

	// Of the embedded member; nil with Endpoints.
	server *embed.Etcd
	lock   *dirLock

	closing chan struct{} // closed by Close; ends all watches
	once    sync.Once
	watches sync.WaitGroup
	closed  error // what Close returned
}

var _ store.Store = (*Store)(nil)

// Open starts the embedded member on opts.Dir, or connects to opts.Endpoints, and
// returns when the store answers.
//
// ErrUnavailable means that the directory is locked by another controller, or
// that the cluster did not answer before ctx ended. ErrCorrupt means that the
// directory is damaged; the message names the file and says what to do, and
// nothing in the directory was changed.
func Open(ctx context.Context, opts Options) (*Store, error) {
	if (opts.Dir == "") == (len(opts.Endpoints) == 0) {
		return nil, errors.New("etcd: exactly one of directory and endpoints must be given")
	}
	if opts.QuotaBytes == 0 {
		opts.QuotaBytes = defaultQuota
	}
	if opts.MinFreeBytes == 0 {
		opts.MinFreeBytes = defaultMinFree
	}
	s := &Store{opts: opts, closing: make(chan struct{})}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	if err := s.checkLimits(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	// The first read also waits until the member has applied its log.
	if _, err := s.client.Get(ctx, probeKey, clientv3.WithCountOnly()); err != nil {
		err = fault(ctx, err)
		return nil, errors.Join(fmt.Errorf("etcd: first read: %w", err), s.Close())
	}
	return s, nil
}

func (s *Store) start(ctx context.Context) error {
	if s.opts.Dir != "" {
		return s.startEmbedded(ctx)
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   s.opts.Endpoints,
		TLS:         s.opts.TLS,
		DialTimeout: 5 * time.Second,
		// A silent connection must not outlive a lease by much.
		DialKeepAliveTime:    2 * time.Second,
		DialKeepAliveTimeout: 2 * time.Second,
		// The client's own bound is 2 MiB.
		MaxCallSendMsgSize: maxRequest + framing,
		Logger:             newZap(s.opts.Logger, zapcore.WarnLevel, nil),
	})
	if err != nil {
		return fmt.Errorf("etcd: %w: %w", store.ErrUnavailable, err)
	}
	s.client = client
	return nil
}

const (
	// maxRequest is the largest request: keys, compares and framing on top of the
	// values.
	maxRequest = store.MaxTxnBytes + 1<<20
	// framing is what gRPC's own bounds leave above that.
	framing = 512 << 10
)

// checkLimits refuses an outside cluster that takes smaller transactions than the
// port promises: it would refuse one in the middle of a storm. It writes nothing.
func (s *Store) checkLimits(ctx context.Context) error {
	if s.server != nil {
		return nil
	}
	many := make([]clientv3.Cmp, store.MaxOps)
	for i := range many {
		many[i] = clientv3.Compare(clientv3.ModRevision(probeKey), "=", 0)
	}
	_, err := s.client.Txn(ctx).If(many...).Commit()
	if err == nil {
		// A long key is the largest request that changes nothing.
		_, err = s.client.Get(ctx, strings.Repeat("\x00", maxRequest), clientv3.WithCountOnly(), clientv3.WithSerializable())
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rpctypes.ErrTooManyOps), status.Code(err) == codes.ResourceExhausted:
		return fmt.Errorf("etcd: the cluster takes smaller transactions than we send: start its members with --max-txn-ops=%d --max-request-bytes=%d (%w)",
			store.MaxOps, maxRequest, err)
	}
	return fmt.Errorf("etcd: first read: %w", fault(ctx, err))
}

// Close stops the watches and the member. After a clean stop of an embedded
// member it writes the manifest that lets the next Open see every changed bit.
func (s *Store) Close() error {
	s.once.Do(func() {
		close(s.closing)
		err := s.client.Close()
		if errors.Is(err, context.Canceled) {
			err = nil // the in-process client has no connection to close
		}
		s.watches.Wait()
		if s.server != nil {
			err = errors.Join(err, s.stopEmbedded())
		}
		s.closed = err
	})
	return s.closed
}

// enter refuses calls after Close and under a context that has ended: etcd's
// in-process client would answer from a stopped server.
func (s *Store) enter(ctx context.Context) error {
	select {
	case <-s.closing:
		return fmt.Errorf("etcd: %w: closed", store.ErrUnavailable)
	default:
		return ctx.Err()
	}
}
