package process

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"relight/internal/agent/address"
)

// loopback is an address for this run alone: claims are the whole machine's.
func loopback() []address.Address {
	return []address.Address{{IP: fmt.Sprintf("127.%d.%d.6", 64+os.Getpid()>>8&63, os.Getpid()&255)}}
}

// Two agents with directories of their own on one machine: an address stays with
// the instance that has it while its agent is away, and is free when it has died.
func TestAddressIsTheMachines(t *testing.T) {
	lo := loopback()
	one, two := newHost(t), newHost(t)
	take := func(h *host) error {
		h.attach(1)
		_, err := h.d.Claim(h.ctx(), ref(1), lo)
		return err
	}
	if err := take(one); err != nil {
		t.Fatal(err)
	}
	if _, err := one.d.Launch(one.ctx(), ref(1), one.launchOrder("serve")); err != nil {
		t.Fatal(err)
	}
	pid := one.served()
	wantErr(t, take(two), address.ErrClaimed)
	one.d.Close() // its agent is away
	wantErr(t, take(two), address.ErrClaimed)
	one.open()
	one.await(1, func(in Instance) bool { return in.State == Running })

	// The keeper alone is killed: the application has the address still.
	kill(t, one.keeperPID(1), syscall.SIGKILL)
	one.await(1, func(in Instance) bool { return in.State == KeeperLost })
	wantErr(t, take(two), address.ErrClaimed)
	if _, err := one.d.Stop(one.ctx(), ref(1), 0); err != nil {
		t.Fatal(err)
	}
	one.wantGone(pid)
	if err := take(two); err != nil {
		t.Fatalf("after the holder's end: %v", err)
	}
}
