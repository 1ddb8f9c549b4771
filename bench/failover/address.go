package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/lab"
)

// addressed measures Relight's move of an address with one limit of silence.
func addressed(limit time.Duration) func(context.Context, string, int, *table) error {
	return func(ctx context.Context, exe string, runs int, t *table) error {
		return address(ctx, exe, runs, t, limit)
	}
}

// address has Relight move the address of a plain process, with the proof that it
// demands: the host's power device.
func address(ctx context.Context, exe string, runs int, t *table, limit time.Duration) (err error) {
	l, err := lab.Up(ctx, lab.Options{Name: "bench", Exe: exe, Owned: true, Limit: limit})
	if err != nil {
		return err
	}
	defer func() { _ = l.Down(context.WithoutCancel(ctx)) }()
	c, err := l.Client()
	if err != nil {
		return err
	}
	defer c.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ip := strings.TrimSuffix(l.Address("ha"), ".11") + ".200"
	err = l.Declare(ctx, c, l.Sites("beat: false")+fmt.Sprintf(`---
apiVersion: relight/v1alpha1
kind: Server
metadata: {name: web}
spec:
  identity:
    addresses: [{ip: %[1]s}]
  template:
    process: {command: [%[2]q, -answer, %[1]s], stopGrace: 1s}
  placement: {sites: [room]}
  fence: power
`, ip, self))
	if err != nil {
		return err
	}
	client, err := l.Call(ctx, ip)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	who := relightOf(limit)
	t.limit(who, limit)
	for range runs {
		var host string
		err := poll(ctx, time.Minute, func() (bool, error) {
			view, err := c.Server(ctx, "web")
			host = view.Status.Host
			return err == nil && view.Status.Phase == fleet.PhaseRunning && view.Status.Verdict == fleet.Healthy && slices.Contains(holders(ctx, l, lab.Hosts(), ip), host),
				errors.Join(err, fmt.Errorf("web is %s, %s: %s", view.Status.Phase, view.Status.Verdict, view.Status.Message))
		})
		if err != nil {
			return err
		}
		old, err := served(ctx, client)
		if err != nil {
			return err
		}
		at := time.Now()
		// A host that lost its power has lost its addresses as well.
		if err := errors.Join(l.PowerOff(ctx, host), flush(ctx, l, host, ip)); err != nil {
			return err
		}
		err = poll(ctx, time.Minute, func() (bool, error) {
			for _, h := range holders(ctx, l, lab.Hosts(), ip) {
				if h != host {
					return true, nil
				}
			}
			why, err := c.Why(ctx, "web")
			return false, errors.Join(err, fmt.Errorf("nobody took the address: %s; %s", why.Headline(time.Now()), why.Now()))
		})
		if err != nil {
			return err
		}
		took := time.Since(at)
		away, err := unserved(ctx, client, old)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%s, address: %.2fs, client %.2fs\n", who, took.Seconds(), away.Seconds())
		t.add(who, addressMoved, took)
		t.add(who, "address: client", away)
		if err := errors.Join(l.PowerOn(ctx, host), lab.AwaitHost(ctx, c, host)); err != nil {
			return err
		}
	}
	return nil
}
