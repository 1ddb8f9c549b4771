package address

import (
	"context"
	"time"
)

// Announce tells the neighbours of the address's device that it is here now: at
// once, and twice more a second apart, since nobody answers and a frame may be lost.
// It returns at once and ends with the claim; it is called once. What fails is
// handed to trouble and changes nothing: the address works for neighbours that did
// not know it, and for the others as soon as their caches age.
func (h *Held) Announce(trouble func(error)) {
	p, err := h.Address.prefix()
	if err != nil || h.Address.Device == "" {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	h.quiet = func() {
		cancel()
		<-done
	}
	go func() {
		defer close(done)
		for _, pause := range []time.Duration{0, time.Second, time.Second} {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			if err := h.claims.Net.Announce(p, h.Address.Device); err != nil {
				trouble(err)
			}
		}
	}()
}

// silence returns when no announcement can follow.
func (h *Held) silence() {
	if h.quiet != nil {
		h.quiet()
	}
}
