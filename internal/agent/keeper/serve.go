package keeper

import (
	"bufio"
	"encoding/json"
	"net"
)

// serve answers one connection until it hangs up. A watch takes it over.
func (k *keeper) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	requests := make(chan Request)
	hungUp := make(chan struct{})
	gone := make(chan struct{})
	defer close(gone)
	go func() {
		defer close(hungUp)
		for d := json.NewDecoder(bufio.NewReader(c)); ; {
			var r Request
			if d.Decode(&r) != nil {
				return
			}
			select {
			case requests <- r:
			case <-gone:
				return
			}
		}
	}()
	out := json.NewEncoder(c)
	for {
		select {
		case <-hungUp:
			return
		case r := <-requests:
			if r.Op == OpWatch {
				k.watch(r, out, hungUp)
				return
			}
			st, err := k.do(r, hungUp)
			answer := Response{Status: &st}
			if err != nil {
				answer = failure(err)
			}
			failed := out.Encode(answer)
			if r.Op == OpRetire && err == nil {
				k.once.Do(func() { close(k.done) })
			}
			if failed != nil {
				return
			}
		}
	}
}

// watch streams the status, now and after each change, until the asker hangs up.
func (k *keeper) watch(r Request, out *json.Encoder, hungUp <-chan struct{}) {
	k.mu.Lock()
	err := k.authorize(r)
	k.mu.Unlock()
	if err != nil {
		_ = out.Encode(failure(err))
		return
	}
	for {
		st, changed := k.status()
		if out.Encode(Response{Status: &st}) != nil {
			return
		}
		select {
		case <-changed:
		case <-hungUp:
			return
		}
	}
}
