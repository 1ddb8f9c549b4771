// Package providertest is the suite that every provider passes. It speaks to the
// provider through the port and to the truth through a Harness, so that a provider
// that reports what it did not do is found out. A case is left out only if the
// provider's Traits, or a nil field of the Harness, say that it lacks the matter.
package providertest

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// Harness is a provider on a fresh platform, with hands on the platform's truth.
type Harness struct {
	Provider provider.Provider
	// Hosts are two hosts or more, in contact, on which any server of Server can
	// run, for providers whose Traits say Places; else nil.
	Hosts []string
	// Server returns a complete spec under a name that was never used, with one
	// volume and one address that exist and are free. Its fence is storage.
	Server func() fleet.Server
	// Now is the time by which the provider stamps evidence.
	Now func() time.Time
	// Eventually lets time pass until cond holds, and reports false if that takes
	// longer than the platform may take.
	Eventually func(cond func() bool) bool

	// Running counts the instances of a server that truly run, by epoch.
	Running func(server string) map[fleet.Epoch]int
	// Holders are the epochs that truly have the volume.
	Holders func(server fleet.Server, volume string) []fleet.Epoch
	// Kill ends an instance behind the provider's back, for good.
	Kill func(server string, epoch fleet.Epoch)

	// Cut takes a host out of contact while what runs there runs on; Mend ends it.
	// Nil where hosts are not ours.
	Cut, Mend func(host string)
	// Fill leaves no room for the server; nil where a server of many units has none.
	Fill func(fleet.Server)
	// Unmount has the guest let go of a volume, without which it stays busy; nil where
	// nothing is mounted.
	Unmount func(server fleet.Server, volume string, epoch fleet.Epoch)
	// BreakApp makes the application of an instance fail; AppWorks tells whether
	// it works. Nil where no rung works in place.
	BreakApp func(server string, epoch fleet.Epoch)
	AppWorks func(server string, epoch fleet.Epoch) bool
}

// T is what a case needs of a test.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Case is one demand on a provider.
type Case struct {
	Name string
	// Skip says why the provider lacks the matter of the case, or nothing.
	Skip func(Harness) string
	Run  func(T, Harness)
}

// Run runs all cases, each on a harness of its own.
func Run(t *testing.T, newHarness func(*testing.T) Harness) {
	t.Helper()
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			h := newHarness(t)
			if why := c.skip(h); why != "" {
				t.Skip(why)
			}
			c.Run(t, h)
		})
	}
}

// Failures runs all cases and returns the first complaint of each that fails, by
// name: to show that a broken provider is found out.
func Failures(t *testing.T, newHarness func(*testing.T) Harness) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, c := range Cases() {
		h := newHarness(t)
		if c.skip(h) != "" {
			continue
		}
		r := &recorder{}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.Run(r, h)
		}()
		<-done
		if r.failed != "" {
			out[c.Name] = r.failed
		}
	}
	return out
}

func (c Case) skip(h Harness) string {
	if c.Skip == nil {
		return ""
	}
	return c.Skip(h)
}

type recorder struct{ failed string }

func (*recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}
