package etcd_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"relight/internal/store"
	"relight/internal/store/etcd"
	"relight/internal/store/etcd/etcdtest"
	"relight/internal/store/storetest"
)

func TestOutsideCluster(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		return mustOpen(t, etcd.Options{Endpoints: []string{etcdtest.Start(t, nil)}})
	})
}

// Two controllers on one cluster see each other's changes, and the largest
// transaction that the port allows passes the network.
func TestOutsideClusterIsShared(t *testing.T) {
	url := etcdtest.Start(t, nil)
	one, two := mustOpen(t, etcd.Options{Endpoints: []string{url}}), mustOpen(t, etcd.Options{Endpoints: []string{url}})
	rev := storetest.Put(t, one, "k", "v")
	if got, err := two.Get(t.Context(), "k"); err != nil || string(got.Value) != "v" {
		t.Errorf("the other one reads %v, %v", got, err)
	}
	if _, err := two.Commit(t.Context(), store.Txn{Compares: []store.Compare{{Key: "k"}}, Ops: []store.Op{{Key: "k"}}}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a compare against revision %d: %v", rev, err)
	}
	big := store.Txn{}
	for i := range 8 {
		big.Ops = append(big.Ops, store.Op{Key: string(rune('a' + i)), Value: make([]byte, store.MaxTxnBytes/8-1)})
	}
	if _, err := one.Commit(t.Context(), big); err != nil {
		t.Errorf("the largest transaction: %v", err)
	}
	if err := one.Health(t.Context()); err != nil {
		t.Error(err)
	}
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	if err := two.Health(t.Context()); err != nil {
		t.Errorf("after the other one has closed: %v", err)
	}
}

// A cluster with etcd's own limits would refuse a large transaction in the middle
// of a storm; it is refused at the start, with what to type.
func TestOutsideClusterWithLowLimitsIsRefused(t *testing.T) {
	for flag, change := range map[string]func(*embed.Config){
		"--max-txn-ops=1024":          func(c *embed.Config) { c.MaxTxnOps = embed.DefaultMaxTxnOps },
		"--max-request-bytes=9437184": func(c *embed.Config) { c.MaxRequestBytes = embed.DefaultMaxRequestBytes },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := etcd.Open(ctx, etcd.Options{Endpoints: []string{etcdtest.Start(t, change)}, Logger: etcdtest.Log(t)})
		if err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%v, want an error that names %s", err, flag)
		}
	}
}
