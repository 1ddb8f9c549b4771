package world

import (
	"fmt"
	"time"
)

// Replies say what the network between a client and a platform's API does to
// calls, as chances from 0 to 1.
type Replies struct {
	Dropped float64 // the call never arrives
	Lost    float64 // it is carried out, its reply is lost
	Doubled float64 // it is carried out twice
	Late    float64 // its reply takes Delay
	Delay   Span
}

// Call is one call of a platform's API.
type Call struct {
	API string
	// Sites are what it is about, zones or a region; none means everything.
	Sites []string
	// Objects is how many resource tokens it costs.
	Objects int
}

// Reply is what a caller gets.
type Reply struct {
	// Err is the platform's answer, or ErrReplyLost: then the caller cannot tell
	// whether the call was carried out.
	Err error
	// After is how late the reply comes.
	After time.Duration
}

// Call lets the platform carry out do: not at all where its API fails
// (ErrUnavailable) or is out of tokens (ErrThrottled), twice where the network
// doubles it. A call that makes something needs a token, or it makes two.
func (w *World) Call(c Call, do func() error) Reply {
	r := w.cfg.Replies
	if w.chance(r.Dropped) {
		w.note("drop call", c.API, "", "")
		return Reply{Err: fmt.Errorf("%s: %w", c.API, ErrReplyLost)}
	}
	if w.apiFails(c.Sites) {
		return Reply{Err: fmt.Errorf("%s in %q: %w", c.API, c.Sites, ErrUnavailable)}
	}
	if !w.TakeFor(c.API, c.Objects) {
		return Reply{Err: fmt.Errorf("%s: %w", c.API, ErrThrottled)}
	}
	reply := Reply{Err: do()}
	if w.chance(r.Doubled) {
		w.note("double call", c.API, "", "")
		reply.Err = do()
	}
	if w.chance(r.Late) {
		reply.After = w.draw(r.Delay)
	}
	if w.loses(c.API) || w.chance(r.Lost) {
		w.note("lose reply", c.API, "", "")
		reply.Err = fmt.Errorf("%s: %w", c.API, ErrReplyLost)
	}
	return reply
}

// LoseReplies loses the replies of the next n calls of one API that are carried out.
func (w *World) LoseReplies(api string, n int) { w.losing[api] = n }

func (w *World) loses(api string) bool {
	if w.losing[api] == 0 {
		return false
	}
	w.losing[api]--
	return true
}

// chance draws whether something of that chance happens; what cannot happen
// costs no draw, so that a fault switched off leaves a seed's other draws alone.
func (w *World) chance(p float64) bool { return p > 0 && w.cfg.Rand.Float64() < p }

// Once carries out a request with a client token at most once: a repeated one
// gets the first one's object. No token means no protection. Errors:
// ErrTokenMismatch if the token came with another request, else those of do.
func (w *World) Once(token, request string, do func() (string, error)) (string, error) {
	if token == "" {
		return do()
	}
	if first, known := w.tokens[token]; known {
		if first.request != request {
			return "", fmt.Errorf("token %s: %w", token, ErrTokenMismatch)
		}
		return first.object, nil
	}
	object, err := do()
	if err == nil {
		w.tokens[token] = tokenUse{request: request, object: object}
	}
	return object, err
}

type tokenUse struct{ request, object string }
